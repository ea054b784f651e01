"""Tests of orcac/publish/push.py and of `orcac export --push`: private, resumable, and without a trace of the token."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import hub_server
import pytest

from orcac.errors import EndpointError, InputError
from orcac.publish.push import parse_repository, push

TOKEN = "hf_tokenoftheuser"
LARGE = {name: name.encode() * hub_server.LARGE for name in ("a.bin", "b.bin")}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[hub_server.HubServer]:
    with hub_server.serving(monkeypatch, str(tmp_path / "cache")) as server:
        server.token = TOKEN
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "out" / "data").mkdir(parents=True)
    (tmp_path / "out" / "README.md").write_text("---\ntags: [orcac]\n---\n- filter/0: rows\n")
    for name, content in LARGE.items():
        (tmp_path / "out" / "data" / name).write_bytes(content)
    return tmp_path / "out"


def count_sent(hub: hub_server.HubServer) -> int:
    return sum(method == "PUT" for method, _, _ in hub.log)


@pytest.mark.parametrize("kind", ["dataset", "model"])
def test_a_folder_is_pushed_to_a_private_repository_and_sent_once(
    hub: hub_server.HubServer, folder: Path, kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    ref = parse_repository("me/sums")
    page = push(folder, ref, kind)  # type: ignore[arg-type]
    assert page == f"{hub.url}/{'datasets/' if kind == 'dataset' else ''}me/sums"
    repo = hub.repos[f"{kind}s/me/sums"]
    assert repo.private and repo.files == {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }
    (folder / "README.md").write_text("---\ntags: [orcac]\n---\nmy words\n")
    push(folder, ref, kind)  # type: ignore[arg-type]
    assert count_sent(hub) == len(LARGE), "the card alone is sent anew"
    assert hub.repos[f"{kind}s/me/sums"].files["README.md"].endswith(b"my words\n")
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    shown = "".join(capfd.readouterr()).encode()
    assert not any(TOKEN.encode() in text for text in [shown, *written]) and hub.leaked == []


def test_a_push_that_was_cut_short_goes_on_with_the_files_that_are_missing(
    hub: hub_server.HubServer, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    sent: list[str] = []

    def fail_after_one(method: str, path: str, before: int) -> hub_server.Fault:
        if method != "PUT" or (sent and path in sent):
            return ""
        if sent:
            return "503"
        sent.append(path)
        return ""

    hub.behaviour = fail_after_one
    with pytest.raises(EndpointError) as failed:
        push(folder, parse_repository("me/sums"), "dataset")
    assert TOKEN not in str(failed.value) + "".join(capfd.readouterr())
    assert len(hub.stored) == 1 and not hub.repos["datasets/me/sums"].files, "no half of it is shown"
    hub.behaviour, already = lambda method, path, before: "", count_sent(hub)
    push(folder, parse_repository("me/sums"), "dataset")
    assert count_sent(hub) == already + 1 and len(hub.repos["datasets/me/sums"].files) == 3


def test_a_public_repository_is_written_only_if_that_is_asked_for(hub: hub_server.HubServer, folder: Path) -> None:
    hub.add("datasets/me/open", {})
    with pytest.raises(InputError, match="me/open is public"):
        push(folder, parse_repository("me/open"), "dataset")
    assert not hub.repos["datasets/me/open"].files
    push(folder, parse_repository("me/open"), "dataset", is_public=True)
    push(folder, parse_repository("me/new"), "model", is_public=True)
    assert not hub.repos["models/me/new"].private and len(hub.repos["datasets/me/open"].files) == 3


def test_what_cannot_be_pushed_is_named(
    hub: hub_server.HubServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.behaviour = lambda method, path, before: "403" if method == "POST" else ""
    with pytest.raises(InputError, match=r"me/sums must not be written \(HTTP 403\)"):
        push(folder, parse_repository("me/sums"), "dataset")
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(InputError, match="pushing needs a token"):
        push(folder, parse_repository("me/sums"), "dataset")
    for name in ("sums", "me/sums@v1", "me/sums/data"):
        with pytest.raises(InputError):
            parse_repository(name)
