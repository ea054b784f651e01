"""Tests of orcac/study.py: the root, the store and the plan file that a command finds."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from orcac.cli import main
from orcac.errors import InputError, StoreError
from orcac.store.store import Store
from orcac.study import export_study, find_study

SMOKE = Path(__file__).parents[1] / "specs" / "smoke.yaml"
OURS = "from orcac.smk import Rules\n"


@pytest.fixture(autouse=True)
def top(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with two folders of specs and no setting in the environment."""
    for name in ("study/specs/more", "other/specs"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ORCAC_STORE", raising=False)
    monkeypatch.delenv("ORCAC_PLAN", raising=False)
    monkeypatch.delenv("ORCAC_UPSTREAM", raising=False)
    return tmp_path


def begin(store: Path) -> None:
    (store / "sample" / ("0" * 20)).mkdir(parents=True)


def test_without_any_sign_the_root_is_the_folder_of_the_spec_or_the_working_folder(top: Path) -> None:
    study = find_study(["study/specs/mine.yaml", "other/specs/second.yaml"])
    assert (study.root, study.store.root) == (top / "study/specs", Path("study/specs/store"))
    assert study.plan == Path("study/specs/build/plan.json")
    assert (find_study().root, find_study().store.root) == (top, Path("store"))


@pytest.mark.parametrize("sign", ["orcac.toml", "store", "Snakefile"])
def test_a_sign_above_the_spec_makes_the_root_wherever_the_command_runs(
    top: Path, monkeypatch: pytest.MonkeyPatch, sign: str
) -> None:
    if sign == "store":
        begin(top / "study/store")
    else:
        (top / "study" / sign).write_text(OURS if sign == "Snakefile" else "")
    spec = "specs/more/mine.yaml"
    for here, place in (
        ("study", Path()),
        ("study/specs/more", top / "study"),
        ("other", top / "study"),
        (".", Path("study")),
    ):
        monkeypatch.chdir(top / here)
        study = find_study([top / "study" / spec])
        assert (study.root, study.store.root) == (top / "study", place / "store")
        assert study.plan == place / "build/plan.json"
    monkeypatch.chdir(top / "study/specs")
    assert find_study().root == find_study(["more/../../specs/mine.yaml"]).root == top / "study"


def test_the_working_folder_is_searched_if_the_folders_of_the_spec_have_no_sign(
    top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(top / "study/store")
    monkeypatch.chdir(top / "study/specs")
    assert find_study([top / "other/specs/mine.yaml"]).root == top / "study"


def test_what_others_call_a_store_or_a_snakefile_is_no_sign(top: Path) -> None:
    (top / "study/store/answers").mkdir(parents=True)
    (top / "study/store/answers/faq.jsonl").write_text("{}\n")
    (top / "study/Snakefile").write_text("rule all: input: []\n")
    (top / "study/orcac.toml").mkdir()
    assert find_study(["study/specs/mine.yaml"]).root == top / "study/specs"


def test_a_parent_folder_in_which_everyone_may_write_is_left_out(top: Path) -> None:
    (top / "study/orcac.toml").write_text('store = "/elsewhere"\n')
    (top / "study").chmod(0o1777)
    assert find_study(["study/specs/mine.yaml"]).root == top / "study/specs"
    assert find_study(["study/mine.yaml"]).root == top / "study"


def test_two_different_stores_are_an_error_that_names_both(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begin(top / "study/store")
    begin(top / "other/store")
    monkeypatch.chdir(top / "other")
    with pytest.raises(InputError) as caught:
        find_study([top / "study/specs/mine.yaml"])
    assert f"{top / 'study/store'} and {top / 'other/store'}" in caught.value.message
    assert "ORCAC_STORE" in caught.value.fix and "orcac.toml" in caught.value.fix
    monkeypatch.setenv("ORCAC_STORE", "store")
    assert find_study([top / "study/specs/mine.yaml"]).store.root == Path("store")
    monkeypatch.delenv("ORCAC_STORE")
    (top / "other/orcac.toml").write_text('store = "../study/store"\n')
    assert find_study([top / "study/specs/mine.yaml"]).store.root == top / "study/store"


def test_the_environment_overrides_the_file_which_overrides_the_root(
    top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (top / "study/orcac.toml").write_text(f'store = "{top}/shared"\nplan = "plans/now.json"\n')
    spec = "study/specs/mine.yaml"
    study = find_study([spec])
    assert (study.store.root, study.plan) == (Path("shared"), Path("study/plans/now.json"))
    monkeypatch.setenv("ORCAC_STORE", "mine")
    assert (find_study([spec]).store.root, find_study([spec]).plan) == (Path("mine"), study.plan)
    monkeypatch.setenv("ORCAC_PLAN", "/p.json")
    monkeypatch.setenv("ORCAC_UPSTREAM", "")
    (top / "study/orcac.toml").write_text("unread = because a run has set all three")
    assert (find_study([spec]).store.root, find_study([spec]).plan) == (Path("mine"), Path("/p.json"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('plan = "p.json"\nstroe = "a"\n', r"orcac.toml:2: unknown key `stroe`; did you mean `store`\?"),
        ('\n[upstream]\nstore = "a"\n', "orcac.toml:2: `upstream` is not a path"),
        ("peer = 'a'\n", "orcac.toml:1: unknown key `peer`; known: store, plan, upstream"),
        ('plan = "p"\nupstream = "gone"\n', "orcac.toml:2: the upstream /.*/gone: there is no such folder"),
        ('upstream = "other"\n', "orcac.toml:1: the upstream /.*/other: holds no artifacts and no answers"),
        ("store = 3\n", "orcac.toml:1: `store` is not a path"),
        ('store = ""\n', "orcac.toml:1: `store` is not a path"),
        ('store = "a"\n\nplan = \n', "orcac.toml:3: not TOML"),
    ],
)
def test_a_wrong_settings_file_is_an_error_with_its_line(top: Path, text: str, message: str) -> None:
    (top / "orcac.toml").write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        find_study()
    assert caught.value.fix


def test_an_upstream_is_a_second_store_which_jobs_inherit(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begin(top / "lab/store")
    (top / "study/orcac.toml").write_text('upstream = "../lab/store"\n')
    study = find_study(["study/specs/mine.yaml"])
    assert study.store == Store(Path("study/store"), top / "lab/store")
    assert study.store.own == Store(Path("study/store"))
    for name, value in export_study(study.store, study.plan).items():
        monkeypatch.setenv(name, value)
    (top / "study/orcac.toml").unlink()
    monkeypatch.chdir(top / "other")
    assert find_study().store == Store(top / "study/store", top / "lab/store")


def test_an_upstream_in_a_folder_may_be_written_as_a_url(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Taken for a server, the answers in the logs of its runs would not be found, and be paid for again."""
    (top / "study/orcac.toml").write_text(f'upstream = "file://{top}/lab/store"\n')
    (top / "lab/store/sample/0123456789abcdef0123").mkdir(parents=True)
    monkeypatch.chdir(top / "study")
    study = find_study()
    assert study.store.upstream == top / "lab/store" and not study.upstream_url


def test_an_upstream_that_is_the_store_itself_is_left_out(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begin(top / "lab/store")
    (top / "orcac.toml").write_text('upstream = "lab/store"\n')
    monkeypatch.setenv("ORCAC_STORE", "lab/store")
    assert find_study().store.upstream is None


def test_an_upstream_that_is_a_study_is_an_error_that_names_the_store_in_it(top: Path) -> None:
    begin(top / "lab/store")
    (top / "orcac.toml").write_text('upstream = "lab"\n')
    with pytest.raises(InputError) as caught:
        find_study()
    assert f'upstream = "{top / "lab/store"}"' in caught.value.fix


def test_an_empty_setting_counts_as_unset_and_a_file_is_not_a_store(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCAC_STORE", "")
    assert find_study().store.root == Path("store")
    (top / "file").write_text("")
    monkeypatch.setenv("ORCAC_STORE", str(top / "file"))
    with pytest.raises(StoreError, match="is not a folder") as caught:
        find_study()
    assert "ORCAC_STORE" in caught.value.fix


def orcac(monkeypatch: pytest.MonkeyPatch, *line: str) -> None:
    monkeypatch.setattr(sys, "argv", ["orcac", *line])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0


def test_a_plan_is_the_same_wherever_it_is_compiled_and_runs_from_any_folder(
    top: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A spec compiled from another folder asked everything again, and its plan had paths that led nowhere."""
    (top / "study/specs/mine.jsonl").write_text('{"q": "How many?", "a": "3"}\n' * 2)
    (top / "study/specs/mine.yaml").write_text(
        f"orcac: 1\nname: mine\nextends: {SMOKE}\n"
        "queries:\n"
        "  boolean: {format: jsonl, path: mine.jsonl, fields: {query: q, reference: a}, task: null,\n"
        "    size: null, take: null}\n"
    )
    (top / "study/orcac.toml").write_text("")
    orcac(monkeypatch, "compile", "study/specs/mine.yaml")
    assert f"new store: {top / 'study/store'}" in capsys.readouterr().out
    text = (top / "study/build/plan.json").read_text()
    monkeypatch.chdir(top / "study/specs/more")
    orcac(monkeypatch, "compile", str(top / "study/specs/mine.yaml"))
    assert (top / "study/build/plan.json").read_text() == text
    nodes = json.loads(text)["nodes"]
    ref = next(ref for ref, node in nodes.items() if node["execution"].get("files"))
    orcac(monkeypatch, "make", ref)
    assert Store(top / "study/store").is_done(ref)
    capsys.readouterr()
    orcac(monkeypatch, "compile", "../mine.yaml")
    assert "new store" not in capsys.readouterr().out
