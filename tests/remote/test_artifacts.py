"""Tests of orcac/remote/artifacts.py, orcac/remote/place.py, orcac/remote/url.py and orcac/remote/transfer.py."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from places import set_keys

from orcac.errors import EndpointError, InputError, StoreError
from orcac.kinds import KINDS
from orcac.remote import artifacts
from orcac.remote.place import FolderPlace, Place, open_place, read, require_store
from orcac.remote.transfer import each
from orcac.store.store import Store

# pushes the store at argv[1] to the address argv[2], or pulls it, and dies after argv[4] files
KILLED = """\
import os, signal, sys
from pathlib import Path
from orcac.remote import artifacts
from orcac.remote.place import open_place
from orcac.store.store import Store

store, place, left = Store(Path(sys.argv[1])), open_place(sys.argv[2]), [int(sys.argv[4])]
artifacts.each = lambda work, items: ((item, work(item)) for item in items)
def count(size):
    left[0] -= 1
    if left[0] < 0:
        os.kill(os.getpid(), signal.SIGKILL)
find, do = getattr(artifacts, f"find_to_{sys.argv[3]}"), getattr(artifacts, sys.argv[3])
for _ in do(store, place, list(find(store, place, sys.argv[5:]).sizes), count):
    pass
"""


def push(store: Store, place: Place) -> tuple[artifacts.Found, dict[str, str], int]:
    """Push all artifacts. Return what was found, the outcome of each, and the number of bytes that were sent."""
    found, sent = artifacts.find_to_push(store, place, store.refs()), [0]
    return found, dict(artifacts.push(store, place, list(found.sizes), _counting(sent))), sent[0]


def pull(place: Place, store: Store, refs: list[str] | None = None) -> tuple[artifacts.Found, dict[str, str]]:
    """Pull artifacts, or all. Return what was found, and the outcome of each."""
    found = artifacts.find_to_pull(store, place, artifacts.list_refs(place) if refs is None else refs)
    return found, dict(artifacts.pull(store, place, list(found.sizes), lambda size: None))


def _counting(total: list[int]) -> Callable[[int], None]:
    def count(size: int) -> None:
        total[0] += size

    return count


def forge(marker: Path, change: Callable[[dict[str, object]], object]) -> None:
    """Change a record and give it the digest of its new content."""
    record = json.loads(marker.read_text())
    record.pop("sha256")
    change(record)
    text = json.dumps(record, indent=1, sort_keys=True).removesuffix("\n}")
    marker.write_text(f'{text},\n "sha256": "{hashlib.sha256(text.encode()).hexdigest()}"\n}}\n')


def test_artifacts_go_to_a_place_and_come_back_byte_by_byte(made: Store, address: str, tmp_path: Path) -> None:
    place, other = open_place(address), Store(tmp_path / "other")
    found, done, sent = push(made, place)
    assert len(found.sizes) == 3 and sent == found.bytes and set(done.values()) == {""}
    again, done, _ = push(made, place)
    assert not again.sizes and not done and again.present == made.refs() == artifacts.list_refs(place)
    found, done = pull(place, other)
    assert len(found.sizes) == 3 and set(done.values()) == {""}
    for ref in made.refs():
        assert not [*other.find_damage(ref)] and other.marker(ref).read_bytes() == made.marker(ref).read_bytes()
        names = {path.name for path in other.folder(ref).iterdir()} - {"lease.lock"}
        assert names == {*made.artifact(ref)["files"], "artifact.json", "complete.json"}
    assert not pull(place, other)[0].sizes
    missing = artifacts.find_to_pull(other, place, ["sample/" + "0" * 20])
    assert missing.missing == ["sample/" + "0" * 20] and not missing.sizes


def test_only_finished_files_of_artifacts_are_sent(made: Store, tmp_path: Path) -> None:
    shutil.copytree(made.root, tmp_path / "store")
    store, place = Store(tmp_path / "store"), FolderPlace(tmp_path / "there")
    ref = store.refs()[0]
    for name in ("log.txt", "error.json", "work/secret", "shards/1-of-2/log.txt"):
        (store.folder(ref) / name).parent.mkdir(parents=True, exist_ok=True)
        (store.folder(ref) / name).write_text("a prompt")
    push(store, place)
    sent = {path.relative_to(place.root / ref).as_posix() for path in (place.root / ref).rglob("*")}
    assert sent == {*store.artifact(ref)["files"], "artifact.json", "complete.json", "lease.lock"}
    assert Store(place.root).verify(ref) == place.root / ref, "a folder that was pushed to is a store"


@pytest.mark.parametrize(
    ("address", "files"), [*(("folder", files) for files in range(5)), ("s3", 2)], indirect=["address"]
)
def test_a_push_that_is_killed_shows_whole_artifacts_alone_and_goes_on(
    made: Store, address: str, tmp_path: Path, files: int
) -> None:
    place = open_place(address)
    run_killed(made, address, "push", files)
    visible = artifacts.find_to_pull(Store(tmp_path / "none"), place, made.refs()).sizes
    facts = {f"{ref}/{name}": one["bytes"] for ref in made.refs() for name, one in made.artifact(ref)["files"].items()}
    there = {name for name, size in facts.items() if place.size(name) == size}
    assert len(there) >= files and len(visible) < 3
    puts: list[str] = []
    put = place.put

    def record(name: str, *rest: object) -> None:
        puts.append(name)
        put(name, *rest)  # type: ignore[arg-type]

    place.put = record  # type: ignore[method-assign]
    assert set(push(made, place)[1].values()) == {""}
    assert {name for name in puts if name in facts} == facts.keys() - there
    found, done = pull(place, Store(tmp_path / "other"))
    assert len(found.sizes) == 3 and set(done.values()) == {""}
    assert all(place.size(f"{ref}/push.part") is None for ref in made.refs())


@pytest.mark.parametrize("files", range(5))
def test_a_pull_that_is_killed_shows_whole_artifacts_alone_and_goes_on(made: Store, tmp_path: Path, files: int) -> None:
    other, place = Store(tmp_path / "other"), FolderPlace(made.root)
    run_killed(other, str(made.root), "pull", files, made.refs())
    done = [ref for ref in made.refs() if other.is_done(ref)]
    assert len(done) < 3 and not any(any(other.find_damage(ref)) for ref in done)
    assert set(pull(place, other)[1].values()) <= {""}
    assert all(other.is_own(ref) and not any(other.find_damage(ref)) for ref in made.refs())
    assert not any((other.folder(ref) / "work").exists() for ref in made.refs())


def run_killed(store: Store, address: str, verb: str, files: int, refs: list[str] | None = None) -> None:
    line = [sys.executable, "-c", KILLED, str(store.root), address, verb, str(files), *(refs or store.refs())]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


def test_a_pull_goes_on_in_the_middle_of_a_file(made: Store, tmp_path: Path) -> None:
    other, place = Store(tmp_path / "other"), FolderPlace(made.root)
    ref = next(ref for ref in made.refs() if ref.startswith("sample/"))
    content = (made.folder(ref) / "prompts.parquet").read_bytes()
    part = other.folder(ref) / "work" / "parts" / hashlib.sha256(b"prompts.parquet").hexdigest()
    for begin in (content[:100], b"x" * 100, content + b"more"):
        part.parent.mkdir(parents=True)
        part.write_bytes(begin)
        assert pull(place, other, [ref])[1] == {ref: ""} and not any(other.find_damage(ref))
        shutil.rmtree(other.folder(ref))


def test_another_artifact_of_the_same_node_is_not_mixed_with_a_push_that_was_cut_short(
    made: Store, tmp_path: Path
) -> None:
    """Two makings of one node have files of one size and other bytes."""
    place, ref = FolderPlace(tmp_path / "there"), made.refs()[0]
    for name, facts in made.artifact(ref)["files"].items():
        place.put(f"{ref}/{name}", b"x" * facts["bytes"])
    place.put(f"{ref}/push.part", b"another push")
    assert push(made, place)[1][ref] == ""
    assert not any(Store(place.root).find_damage(ref))


def test_a_node_that_is_being_made_at_the_place_is_left_alone(made: Store, tmp_path: Path) -> None:
    place, ref = FolderPlace(tmp_path / "there"), made.refs()[0]
    with Store(place.root).lease(ref):
        assert "is being made there now" in push(made, place)[1][ref]
    assert not Store(place.root).is_done(ref)


def test_a_damaged_artifact_is_not_pushed(made: Store, tmp_path: Path) -> None:
    shutil.copytree(made.root, tmp_path / "store")
    store, place = Store(tmp_path / "store"), FolderPlace(tmp_path / "there")
    ref = next(ref for ref in store.refs() if ref.startswith("collect/"))
    (store.folder(ref) / "responses.parquet").write_bytes(b"x")
    assert "responses.parquet" in push(store, place)[1][ref]
    assert not Store(place.root).is_done(ref) and len(artifacts.list_refs(place)) == 2


def test_every_flipped_byte_at_a_place_is_refused_and_named(made: Store, tmp_path: Path) -> None:
    place, rng = FolderPlace(tmp_path / "there"), random.Random(7)
    push(made, place)
    paths = [path for path in sorted(place.root.rglob("*")) if path.is_file() and path.stat().st_size]
    for path in (path for path in paths if path.name not in ("complete.json", "lease.json")):
        ref, content = path.parent.relative_to(place.root).as_posix(), path.read_bytes()
        for number in range(5):
            other, at = Store(tmp_path / f"{path.name}-{ref[:6]}-{number}"), rng.randrange(len(content))
            path.write_bytes(content[:at] + bytes([content[at] ^ 1 << rng.randrange(8)]) + content[at + 1 :])
            found, done = pull(place, other, [ref])
            assert str(path) in {**found.refused, **done}[ref]
            assert not other.is_done(ref)
        path.write_bytes(content)
    assert pull(place, Store(tmp_path / "last"))[1] == dict.fromkeys(made.refs(), "")


@pytest.mark.parametrize(
    "attack", ["missing", "link", "linked folder", "pipe", "outside", "other id", "endless", "huge"]
)
def test_a_hostile_place_is_refused_and_named(made: Store, tmp_path: Path, attack: str) -> None:
    place, other = FolderPlace(tmp_path / "there"), Store(tmp_path / "other")
    push(made, place)
    (tmp_path / "secret").write_text("mine")
    ref = next(ref for ref in made.refs() if ref.startswith("sample/"))
    file, marker = place.root / ref / "prompts.parquet", place.root / ref / "artifact.json"
    if attack == "missing":
        file.unlink()
    elif attack == "link":
        file.rename(tmp_path / "aside")
        file.symlink_to(tmp_path / "aside")
    elif attack == "linked folder":
        (place.root / ref).rename(tmp_path / "aside")
        (place.root / ref).symlink_to(tmp_path / "aside")
    elif attack == "pipe":
        file.unlink()
        os.mkfifo(file)
    elif attack == "outside":
        forge(marker, lambda record: record["files"].update({"../../../secret": record["files"]["prompts.parquet"]}))  # type: ignore[attr-defined]
    elif attack == "other id":
        forge(marker, lambda record: record["recipe"].update(seed=77))  # type: ignore[attr-defined]
    elif attack == "endless":
        with file.open("r+b") as sparse:
            sparse.truncate(1 << 40)
    elif attack == "huge":
        with marker.open("r+b") as sparse:
            sparse.truncate(1 << 40)
    found, done = pull(place, other, [ref])
    assert str(place.root / ref) in {**found.refused, **done}[ref]
    assert not other.is_done(ref) and (tmp_path / "secret").read_text() == "mine"
    assert not [path for path in other.root.rglob("*") if path.is_symlink()]


@pytest.mark.parametrize("name", ["x" * 256, "folder/" * 200 + "x", "prompts.parquet/below"])
def test_names_that_no_disk_can_hold_together_are_refused_and_the_rest_is_pulled(
    made: Store, tmp_path: Path, name: str
) -> None:
    place, other = FolderPlace(tmp_path / "there"), Store(tmp_path / "other")
    push(made, place)
    ref = next(ref for ref in made.refs() if ref.startswith("sample/"))
    empty = {"bytes": 0, "sha256": hashlib.sha256(b"").hexdigest()}
    forge(place.root / ref / "artifact.json", lambda record: record["files"].update({name: empty}))  # type: ignore[attr-defined]
    found, done = pull(place, other)
    assert f"{place.root / ref}/artifact.json" in found.refused[ref] and len(done) == 2
    assert set(done.values()) == {""}


@pytest.mark.parametrize("size", [10**400, 1 << 63])
def test_a_size_that_no_file_has_is_refused(made: Store, tmp_path: Path, size: int) -> None:
    place = FolderPlace(tmp_path / "there")
    push(made, place)
    ref = next(ref for ref in made.refs() if ref.startswith("sample/"))
    forge(place.root / ref / "artifact.json", lambda record: record["files"]["prompts.parquet"].update(bytes=size))  # type: ignore[index]
    found = artifacts.find_to_pull(Store(tmp_path / "other"), place, [ref])
    assert "larger than any file" in found.refused[ref] and not found.sizes


def test_a_name_that_cannot_be_looked_up_in_a_folder_is_an_error_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=f"{tmp_path}/x+: cannot be read"):
        FolderPlace(tmp_path).size("x" * 300)


def test_a_push_of_the_same_files_that_was_faster_is_no_refusal(made: Store, tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    place, other = (open_place(f"memory://lab/{tmp_path.name}") for _ in range(2))
    refs, put = made.refs(), place.put

    def be_slower(name: str, *rest: object) -> None:
        put(name, *rest)  # type: ignore[arg-type]
        if name == f"{refs[0]}/push.part":
            assert dict(artifacts.push(made, other, refs[:1], lambda size: None)) == {refs[0]: ""}

    place.put = be_slower  # type: ignore[method-assign]
    assert dict(artifacts.push(made, place, refs[:1], lambda size: None)) == {refs[0]: ""}


def test_a_pull_reports_that_it_waits_for_a_job(
    made: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other, ref = Store(tmp_path / "other"), made.refs()[0]
    with contextlib.ExitStack() as job:
        job.enter_context(other.lease(ref))
        done = threading.Thread(target=pull, args=(FolderPlace(made.root), other, [ref]))
        done.start()
        shown = ""
        while done.is_alive() and "is being made by" not in shown:
            shown += capsys.readouterr().err
            time.sleep(0.01)
        job.close()
        done.join()
    assert f"{ref} is being made by" in shown and other.is_own(ref)


def test_a_server_whose_library_looks_up_names_alone_is_pushed_to(made: Store, tmp_path: Path) -> None:
    """That of SFTP, for one, takes no further argument."""
    fsspec = pytest.importorskip("fsspec")
    from fsspec.implementations.memory import MemoryFileSystem

    class Plain(MemoryFileSystem):  # type: ignore[misc]
        protocol = "plain"

        def info(self, path: str) -> object:
            return super().info(path)

        @classmethod
        def _strip_protocol(cls, path: str) -> str:
            return str(MemoryFileSystem._strip_protocol(path.replace("plain://", "memory://")))

    fsspec.register_implementation("plain", Plain, clobber=True)
    place = open_place(f"plain://lab/{tmp_path.name}")
    assert set(push(made, place)[1].values()) == {""} and len(push(made, place)[0].present) == 3


def test_an_id_is_that_of_the_recipe_also_for_records_of_an_older_orcac(made: Store) -> None:
    """They lack the fields that a recipe has gained since, and may lack a digest."""
    for ref in made.refs():
        record = json.loads(made.marker(ref).read_text())
        del record["sha256"]
        recipe = KINDS[record["kind"]].recipe.model_validate(record["recipe"])
        record["recipe"] = recipe.model_dump(mode="json", exclude_defaults=True)
        assert artifacts.check_record(json.dumps(record).encode(), ref)["ref"] == ref
        record["version"] += 1
        with pytest.raises(ValueError, match="another id"):
            artifacts.check_record(json.dumps(record).encode(), ref)


def test_an_address_that_cannot_be_used_is_named_without_its_password(tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    (tmp_path / "file").write_text("")
    for address in (str(tmp_path / "file"), "none://x/y", "simplecache::memory://x", "memory://x?versionId=1"):
        with pytest.raises(InputError):
            open_place(address)
    for address in ("http://127.0.0.1:1/store?sig=hunter2", "http://127.0.0.1:1/store#hunter2"):
        with pytest.raises(InputError) as refused:
            open_place(address)
        assert "hunter2" not in str(refused.value) and "127.0.0.1:1/store" in str(refused.value)
    place = open_place("http://me:hunter2@127.0.0.1:1/store")
    assert "hunter2" not in place.label and "me" not in place.label.split("/")[2].split(":")[0]
    with pytest.raises(EndpointError) as caught:
        read(place, "sample/x/artifact.json", 10)
    assert "hunter2" not in str(caught.value) and "127.0.0.1" in str(caught.value)
    with pytest.raises(EndpointError):
        place.names("sample")


def test_a_web_server_can_be_pulled_from(made: Store, tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    handler = functools.partial(QuietHandler, directory=str(made.root))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        place, other = open_place(f"http://127.0.0.1:{server.server_port}"), Store(tmp_path / "other")
        require_store(place)
        assert artifacts.list_refs(place) == made.refs()
        assert pull(place, other)[1] == dict.fromkeys(made.refs(), "")
        assert not pull(place, other)[0].sizes and not any(any(other.find_damage(ref)) for ref in made.refs())
        with pytest.raises(EndpointError):
            push(made, open_place(f"http://127.0.0.1:{server.server_port}/below"))
        with pytest.raises(InputError, match="holds no artifacts and no answers"):
            require_store(open_place(f"http://127.0.0.1:{server.server_port}/sample"))
        server.shutdown()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


def test_a_bucket_that_does_not_exist_is_named_and_not_made(
    made: Store, s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_keys(monkeypatch, s3)
    place = open_place("s3://another/store")
    with pytest.raises(EndpointError, match="s3://another/store"):
        push(made, place)
    with pytest.raises(InputError, match="holds no artifacts and no answers"):
        require_store(place)


def test_a_transfer_ends_with_the_first_error_and_begins_nothing_more() -> None:
    begun = []

    def work(number: int) -> int:
        begun.append(number)
        if number == 3:
            raise StoreError("full")
        time.sleep(0.01)  # all of them would take twelve seconds
        return number

    with pytest.raises(StoreError, match="full"):
        for _ in each(work, range(10_000)):
            pass
    assert len(begun) < 10_000
    assert sorted(each(lambda number: number + 1, range(20))) == [(number, number + 1) for number in range(20)]
