"""Tests of orcac/hub.py and orcac/listing.py: references, and files fetched over loopback, with faults."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import hub_server
import pytest
import tiny
from hub_server import HubServer
from patience import PATIENCE_S

from orcac import hub
from orcac.errors import EndpointError, InputError, OrcacError, StoreError
from orcac.hub import fetch, matches, parse_hub
from orcac.recipe import HubRef

SMALL = b'{"q": "one"}\n'
LARGE = random.Random(0).randbytes(3_000_000)  # several chunks of the library's


@pytest.fixture
def server(tmp_path, monkeypatch):
    with hub_server.serving(monkeypatch, str(tmp_path / "cache")) as server:
        yield server


def get(url: str, **more) -> hub.Fetched:
    return fetch(parse_hub(url), kind=more.pop("kind", "dataset"), label="sample q", **more)


@pytest.mark.parametrize(
    ("url", "ref"),
    [
        ("hf://o/n", HubRef(repo="o/n")),
        ("hf://o-1/n.x_y@v1.0", HubRef(repo="o-1/n.x_y", revision="v1.0")),
        ("hf://o/n/data/*.parquet", HubRef(repo="o/n", path="data/*.parquet")),
        ("hf://o/n@main/a b/é@2.jsonl", HubRef(repo="o/n", path="a b/é@2.jsonl")),
        ("hf://o/n/a@b/c", HubRef(repo="o/n", path="a@b/c")),
        ("hf://o/n@refs/convert/parquet/d/t", HubRef(repo="o/n", revision="refs/convert/parquet", path="d/t")),
        ("hf://o/n@refs/pr/12", HubRef(repo="o/n", revision="refs/pr/12")),
        ("hf://o/n@my%2Fbranch/x", HubRef(repo="o/n", revision="my/branch", path="x")),
    ],
)
def test_a_reference_is_read(url, ref):
    assert parse_hub(url) == ref


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("https://huggingface.co/o/n", "does not begin"),
        ("hf://", "no owner"),
        ("hf://n", "no owner"),
        ("hf://o/", "no owner"),
        ("hf:///n", "not a name"),
        ("hf://o/../x", "not a name"),
        ("hf://o/-n", "not a name"),
        ("hf://o/a--b", "not a name"),
        ("hf://o/n.git", "not a name"),
        ("hf://ö/n", "not a name"),
        ("hf://o/n?x", "not a name"),
        ("hf://o/n@", "no revision"),
        ("hf://o/n@/x", "no revision"),
        ("hf://o/n@..", "not a name of a branch"),
        ("hf://o/n@-x", "not a name of a branch"),
        ("hf://o/n@a%2F..%2Fb", "not a name of a branch"),
        ("hf://o/n/", "empty part"),
        ("hf://o/n/a//b", "empty part"),
        ("hf://o/n/a/../../b", "empty part"),
        ("hf://o/n/./b", "empty part"),
        ("hf://o/n/a\x1b[2J", "character"),
        ("hf://o/n/a\\b", "character"),
        ("hf://o/n/a\n", "character"),
    ],
)
def test_a_malformed_reference_is_an_error_with_the_right_form_as_fix(url, problem):
    with pytest.raises(InputError, match=problem) as error:
        parse_hub(url)
    assert "hf://OWNER/NAME" in error.value.fix
    assert error.value.message.isprintable()


def test_the_fix_for_datasets_before_the_owner_is_to_leave_it_out():
    for word in ("datasets", "models"):
        with pytest.raises(InputError) as error:
            parse_hub(f"hf://{word}/o/n")
        assert f"leave out `{word}/`" in error.value.fix


@pytest.mark.parametrize(
    ("path", "names", "not_names"),
    [
        ("", ["a", "d/a"], []),
        ("d", ["d/a", "d/e/a"], ["da", "a"]),
        ("d/a.x", ["d/a.x"], ["d/a.xy", "a.x"]),
        ("*.x", ["a.x"], ["d/a.x", "a.y"]),
        ("d/*", ["d/a"], ["d/e/a"]),
        ("**/*.x", ["a.x", "d/a.x", "d/e/a.x"], ["a.y"]),
        ("d/**", ["d/a", "d/e/a"], ["a"]),
        ("t-[0-3].x", ["t-2.x", "t-[0-3].x"], ["t-4.x"]),
    ],
)
def test_a_path_is_a_file_a_folder_or_a_glob(path, names, not_names):
    assert [name for name in names + not_names if matches(path, name)] == names


def test_files_come_whole_sorted_and_from_the_commit_of_the_revision(server, capfd):
    files = {"z.jsonl": SMALL, "d/big.jsonl": LARGE, "a.jsonl": SMALL * 2, "README.md": b"#", ".gitattributes": b""}
    commit = server.add("datasets/o/n", files)
    fetched = get("hf://o/n", suffix=".jsonl")
    assert fetched.commit == commit
    assert [name for _, name in fetched.files] == ["a.jsonl", "d/big.jsonl", "z.jsonl"]
    assert all(path.read_bytes() == files[name] for path, name in fetched.files)
    assert server.got("README.md") == []
    printed = capfd.readouterr()
    assert "sample q o/n  3/3 MB  100 %" in printed.err and printed.out == ""
    asked = len(server.log)
    assert get("hf://o/n", suffix=".jsonl") == fetched
    assert all("/api/" in path for _, path, _ in server.log[asked:])  # nothing is fetched twice
    assert [name for _, name in get("hf://o/n/README.md", suffix=".jsonl").files] == ["README.md"]
    assert [name for _, name in get("hf://o/n@refs/convert/parquet/d", suffix=".jsonl").files] == ["d/big.jsonl"]
    assert [name for _, name in get("hf://o/n", suffix=".md", packed=(".gz",)).files] == ["README.md"]
    server.add("datasets/o/packed", {"a.jsonl.gz": b"1", "b.jsonl.zst": b"2", "c.csv.gz": b"3"})
    fetched = get("hf://o/packed", suffix=".jsonl", packed=(".gz", ".zst"))
    assert [name for _, name in fetched.files] == ["a.jsonl.gz", "b.jsonl.zst"]
    server.add("datasets/o/n", files | {"z.jsonl": b"moved"})
    assert get("hf://o/n/z.jsonl").files[0][0].read_bytes() == b"moved"


def test_a_cut_connection_goes_on_where_it_broke_off(server, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 100_000)  # bytes of one write
    server.add("datasets/o/n", {"big.jsonl": LARGE})
    server.behaviour = lambda method, path, before: "drop" if "/signed/" in path and before < 2 else ""
    ((path, _),) = get("hf://o/n").files
    assert path.read_bytes() == LARGE
    spans = [span for _, path, span in server.log if "/signed/" in path]
    assert spans == ["", "bytes=1500000-", "bytes=2200000-"]


@pytest.mark.parametrize("where", ["/revision/", "/tree/", "HEAD", "GET"])
@pytest.mark.parametrize("fault", ["503", "429"])
def test_an_error_that_may_pass_is_tried_again(server, where, fault, capfd):
    server.add("datasets/o/n", {"a.jsonl": SMALL})

    def behaviour(method: str, path: str, before: int) -> hub_server.Fault:
        here = where in path or (where == method and "/resolve/" in path)
        return fault if here and before == 0 else ""

    server.behaviour = behaviour
    assert get("hf://o/n").files[0][0].read_bytes() == SMALL


@pytest.mark.parametrize("fault", ["short", "swapped"])
def test_a_damaged_file_is_fetched_anew_and_never_used(server, fault):
    server.add("datasets/o/n", {"big.jsonl": LARGE})
    server.behaviour = lambda method, path, before: fault if "/signed/" in path and before == 0 else ""
    ((path, _),) = get("hf://o/n").files
    assert path.read_bytes() == LARGE
    path.resolve().write_bytes(LARGE[:-1] + b"x")  # in the cache
    assert get("hf://o/n").files[0][0].read_bytes() == LARGE
    path.resolve().write_bytes(b"")
    server.behaviour = lambda method, path, before: fault if "/signed/" in path else ""
    with pytest.raises(EndpointError, match="damaged or cut short"):
        get("hf://o/n")


ERRORS = [  # (reference, requests with the fault, fault, exit code, part of the message, part of the fix)
    ("hf://o/none", "", "", 2, "datasets/o/none: there is no such dataset, or it is private", "HF_TOKEN"),
    ("hf://o/private", "", "", 2, "datasets/o/private: there is no such dataset, or it is private", "HF_TOKEN"),
    ("hf://o/gated", "", "", 2, "datasets/o/gated is gated", "ask for access at"),
    ("hf://o/n@v9", "", "", 2, "datasets/o/n has no revision 'v9'", "a branch, a tag or a commit"),
    ("hf://o/n/b.jsonl", "", "", 2, "o/n@main has nothing at 'b.jsonl'", "a.jsonl"),
    ("hf://o/n/*.tsv", "", "", 2, "o/n@main has nothing at '*.tsv'", "a.jsonl"),
    ("hf://o/n/docs", "", "", 2, "o/n@main has no .jsonl file at 'docs'", "docs/x.md"),
    *(
        ("hf://o/n", where, *error)
        for where in ("/api/", "/resolve/")
        for error in (
            ("401", 4, "refuses the token", "set HF_TOKEN"),
            ("403", 2, "datasets/o/n must not be read (HTTP 403)", "HF_TOKEN"),
            ("503", 4, "answered HTTP 503", "run again"),
            ("drop", 4, "cannot be reached, or the connection broke off", "HF_ENDPOINT"),
            ("hang", 4, "cannot be reached, or the connection broke off", "HF_ENDPOINT"),
            ("html", 4, "does not answer as a hub does", "HF_ENDPOINT"),
        )
    ),
]


@pytest.mark.parametrize(("url", "where", "fault", "code", "message", "fix"), ERRORS)
def test_errors_name_the_cause_and_a_fix(server, monkeypatch, url, where, fault, code, message, fix):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DOWNLOAD_TIMEOUT", 0.1)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_ETAG_TIMEOUT", 0.1)
    monkeypatch.setattr("huggingface_hub.file_download._ETAG_RETRY_TIMEOUT", 0.1)
    server.add("datasets/o/n", {"a.jsonl": SMALL, "docs/x.md": b"x"})
    server.add("datasets/o/gated", {"a.jsonl": SMALL}, gated=True)
    server.add("datasets/o/private", {"a.jsonl": SMALL}, private=True)
    server.behaviour = lambda method, path, before: fault if where in path else ""
    with pytest.raises(OrcacError) as error:
        get(url, suffix=".jsonl", stall_seconds=0.1)
    assert (error.value.exit_code, message in error.value.message) == (code, True), error.value
    assert fix in error.value.fix


def test_the_token_opens_private_repositories_and_is_never_shown(server, monkeypatch, capfd):
    server.add("datasets/o/private", {"a.jsonl": SMALL, "big.jsonl": LARGE}, private=True)
    monkeypatch.setenv("HF_TOKEN", server.token)
    assert len(get("hf://o/private").files) == 2
    assert server.leaked == []
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(EndpointError) as wrong:
        get("hf://o/private")
    server.add("datasets/o/gated", {"a.jsonl": SMALL}, gated=True)
    monkeypatch.setenv("HF_TOKEN", server.token)
    with pytest.raises(InputError) as gated:
        get("hf://o/gated")
    monkeypatch.setenv("HF_TOKEN", "hf_wr\x7fong")
    with pytest.raises(InputError) as odd:
        get("hf://o/private")
    shown = "".join([*map(str, (wrong.value, gated.value, odd.value)), *capfd.readouterr()])
    assert server.token not in shown and "hf_w" not in shown


def test_a_lack_of_this_machine_is_an_error_with_a_fix(server, monkeypatch, tmp_path):
    server.add("datasets/o/n", {"big.jsonl": LARGE})
    with tiny.small_files(100_000), pytest.raises(StoreError) as full:
        get("hf://o/n")
    assert full.value.exit_code == 5 and "HF_HOME" in full.value.fix and "cannot write" in full.value.message
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="HF_HUB_OFFLINE"):
        get("hf://o/n")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "hub.example")
    with pytest.raises(InputError, match="HF_ENDPOINT"):
        get("hf://o/n")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://user:s3cret@127.0.0.1:9")
    with pytest.raises(EndpointError, match=r"http://127\.0\.0\.1:9 cannot be reached") as away:
        get("hf://o/n")
    assert "s3cret" not in str(away.value)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InputError, match="needs the package") as missing:
        get("hf://o/n")
    assert missing.value.fix == "pip install 'orcac[hub]'"


def test_the_token_does_not_follow_a_link_header_to_another_host(server, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", server.token)
    server.add("datasets/o/n", {f"{n}.parquet": b"x" for n in range(5)})
    server.pages_url = server.files_url
    assert len(fetch(HubRef(repo="o/n"), kind="dataset", label="q", suffix=".parquet").files) == 5
    assert not server.leaked


@pytest.mark.parametrize(
    "lie",
    [{"ETag": '"../../../../evil"'}, {"ETag": '".."'}, {"X-Linked-Etag": "/evil"}, {"X-Repo-Commit": "../../evil"}],
)
def test_an_etag_or_commit_that_is_a_path_is_refused(server, monkeypatch, tmp_path, lie):
    """The library makes files of its cache from them."""
    monkeypatch.setattr(hub, "WAITS_SECONDS", ())
    server.add("datasets/o/n", {"a.parquet": b"x", "b.parquet": LARGE})
    server.lies = lie
    with pytest.raises(EndpointError, match="does not answer as a hub does"):
        fetch(HubRef(repo="o/n"), kind="dataset", label="q", suffix=".parquet")
    assert not [*tmp_path.rglob("evil*")]


def test_a_name_that_leaves_the_repository_is_refused(server):
    server.add("datasets/o/n", {"../../evil.jsonl": SMALL})
    with pytest.raises(InputError, match="evil"):
        get("hf://o/n")


def test_of_a_model_neither_pickles_nor_code_are_fetched(server):
    weights = {
        "model.safetensors": LARGE,
        "config.json": b"{}",
        "tokenizer.json": b"{}",
        "merges.txt": b"",
        "t.jinja": b"",
    }
    others = [
        "pytorch_model.bin",
        "model.pt",
        "modeling_own.py",
        "README.md",
        "consolidated.safetensors",
        "onnx/x.json",
    ]
    server.add("models/o/m", weights | dict.fromkeys(others, b"no") | {"sub/config.json": b"{}"})
    fetched = get("hf://o/m", kind="model")
    assert [name for _, name in fetched.files] == sorted(weights)
    assert not [path for _, path, _ in server.log if path.endswith(tuple(others))]
    with pytest.raises(InputError, match=r"no \.safetensors") as error:
        get("hf://o/m/sub", kind="model")
    assert "pickled" in error.value.fix
    with pytest.raises(InputError, match=r"no config\.json"):
        get("hf://o/m/none", kind="model")


def test_the_command_reads_the_environment_and_shows_no_token(tmp_path):
    from orcac.plan.node import Node
    from orcac.plan.plan import Plan
    from orcac.recipe import Execution
    from orcac.sample.recipe import SampleRecipe, Source

    def node(url: str) -> Node:
        source = Source(format="jsonl", hub=(parse_hub(url),), fields={"query": "q"})
        return Node(
            kind="sample",
            recipe=SampleRecipe(name="q", seed=0, source=source),
            inputs={},
            execution=Execution(),
            label="q",
        )

    plan, good, bad = Plan(), node("hf://o/private"), node("hf://o/gated")
    for each in (good, bad):
        plan.add(each)
    plan.write(tmp_path / "plan.json")
    with HubServer(token="hf_tokenoftheuser") as server:
        commit = server.add("datasets/o/private", {"a.jsonl": SMALL, "b.jsonl": b'{"q": "two"}\n'}, private=True)
        server.add("datasets/o/gated", {"a.jsonl": SMALL}, gated=True)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        environment = kept | {
            "HF_ENDPOINT": server.url,
            "HF_HOME": str(tmp_path / "home"),
            "HF_TOKEN": server.token,
            "ORCAC_STORE": str(tmp_path / "store"),
            "ORCAC_PLAN": str(tmp_path / "plan.json"),
        }

        def make(ref: str) -> subprocess.CompletedProcess[str]:
            command = [sys.executable, "-m", "orcac", "make", ref]
            return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE_S)

        made, refused = make(good.ref), make(bad.ref)
    assert made.returncode == 0, made.stderr
    record = json.loads((tmp_path / "store" / good.ref / "artifact.json").read_text())
    assert record["summary"]["hub"] == {"o/private@main": commit} and record["summary"]["kept"] == 2
    assert refused.returncode == 2 and "is gated" in refused.stderr and "Traceback" not in refused.stderr
    assert not any("agent" in path for _, path, _ in server.log)
    written = [path.read_bytes() for path in Path(tmp_path).rglob("*") if path.is_file()]
    shown = "".join([made.stdout, made.stderr, refused.stdout, refused.stderr]).encode()
    assert not any(server.token.encode() in text for text in [shown, *written])


def test_a_reference_is_read_from_the_cache_when_offline(server, monkeypatch, tmp_path):
    files = {"data/a.jsonl": SMALL, "data/b.jsonl": LARGE, "data/readme.md": b"x"}
    commit = server.add("datasets/o/n", files)
    online = get("hf://o/n/data", suffix=".jsonl")
    server.add("datasets/o/n", files | {"data/c.jsonl": SMALL})  # the branch moves, and the cache does not see it
    asked = len(server.log)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert get("hf://o/n/data", suffix=".jsonl") == online
    assert get(f"hf://o/n@{commit}/data/a.jsonl").files == online.files[:1]
    with pytest.raises(InputError, match=r"data/readme\.md is missing in the cache, and HF_HUB_OFFLINE") as partial:
        get("hf://o/n/data/*")
    assert "`orcac fetch SPEC`" in partial.value.fix and "HF_HOME" in partial.value.fix
    with pytest.raises(InputError, match="o/other@main is not in the cache, and HF_HUB_OFFLINE"):
        get("hf://o/other")
    (path, _), *_ = online.files
    path.resolve().write_bytes(b"damaged")
    with pytest.raises(InputError, match=r"data/a\.jsonl is damaged in the cache"):
        get("hf://o/n/data", suffix=".jsonl")
    assert len(server.log) == asked, "nothing was asked"


def test_listings_that_cannot_be_read_count_as_none(server, monkeypatch, tmp_path):
    commit = server.add("datasets/o/n", {"a.jsonl": SMALL})
    get("hf://o/n")
    listing = tmp_path / "cache" / "datasets--o--n" / "orcac" / f"{commit}.json"
    assert listing.is_file()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for content in ("", "3", "[3]", '[{"path": "../x"}]', "{}x"):
        listing.write_text(content)
        with pytest.raises(InputError, match="is not in the cache"):
            get("hf://o/n")
    (tmp_path / "cache" / "datasets--o--n" / "refs" / "main").write_text("../../elsewhere")
    with pytest.raises(InputError, match="is not in the cache"):
        get("hf://o/n")
