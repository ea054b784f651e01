"""Tests of orcac/cli/init.py and orcac/cli/shipped.py.

Studies compile, nothing is overwritten, and a killed init can be run again.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from orcac.cli.init import RULES, SPECS, command
from orcac.cli.shipped import describe_specs
from orcac.errors import InputError
from orcac.plan.lower import lower
from orcac.plan.plan import Plan
from orcac.smk import find_snakefile
from orcac.spec.load import load
from orcac.spec.problems import SpecErrors
from orcac.store.durable import write_if_changed

ROOT = Path(__file__).parents[2]


def init(folder: Path, *options: str) -> Result:
    return CliRunner().invoke(command, [*options, str(folder)], catch_exceptions=False)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("ORCAC_STORE", raising=False)
    assert init(tmp_path / "study").exit_code == 0
    return tmp_path / "study"


def test_it_lays_out_the_files_of_the_checkout(study: Path) -> None:
    files = contents(study)
    for name in ("Snakefile", "rules/train.smk", "profiles/default/config.yaml", "slurm/config.yaml"):
        assert name in files
    for name in files.keys() - {".gitignore"}:
        assert files[name] == (ROOT / name).read_bytes(), name
    assert {"/store/", "/build/", "/.snakemake/"} <= set(files[".gitignore"].decode().split())


def test_a_second_call_writes_nothing_and_prints_so(study: Path) -> None:
    before = contents(study)
    assert "nothing is written" in init(study).output and contents(study) == before
    (study / "Snakefile").unlink()
    assert "nothing is written" not in init(study).output and contents(study) == before


def test_its_specs_compile_and_name_the_schema_for_editors(study: Path) -> None:
    for path in (study / "specs").glob("*.yaml"):
        assert "base" in load(path).arms
        first = path.read_text().splitlines()[0]
        named = re.fullmatch(r"# yaml-language-server: \$schema=(\S+)", first)
        assert named
        assert (path.parent / named[1]).is_file()


def test_what_the_spec_offers_in_comments_is_valid_too(study: Path) -> None:
    path = study / "specs" / "study.yaml"
    text, count = re.subn(r"(?m)^( +)# (\w[\w-]*: (?:\{.*\}|\[.*\]))$", r"\1\2", path.read_text())
    assert count == 5
    path.write_text(text)
    (path.parent / "mine.jsonl").write_text('{"question": "?", "answer": "!"}\n')
    spec = load(path).base.spec
    assert spec.teachers.keys() == {"assistant", "expert", "gpt", "own"}
    assert spec.datasets["mine-gpt"].queries == ("mine",)
    assert "mine" in spec.system_messages.draw


@pytest.mark.parametrize("name", ["rules/eval.smk", ".gitignore", "specs/orcac.schema.json", "specs/study.yaml"])
def test_a_file_in_the_way_is_named_and_kept_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    path = tmp_path / "study" / name
    path.parent.mkdir(parents=True)
    path.write_text("mine\n")
    with pytest.raises(InputError, match=re.escape(f"{path} exists already")):
        init(tmp_path / "study")
    assert contents(tmp_path / "study") == {name: b"mine\n"}


@pytest.mark.parametrize("name", [".", "rules", "specs/system_messages"])
def test_a_file_where_a_folder_should_be_is_named_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    path = tmp_path / "study" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("mine\n")
    with pytest.raises(InputError, match=re.escape(f"{path} is not a folder")):
        init(tmp_path / "study")
    assert [path.read_text() for path in tmp_path.rglob("*") if path.is_file()] == ["mine\n"]


def test_a_dangling_link_is_in_the_way_too(tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "Snakefile").symlink_to("nowhere")
    with pytest.raises(InputError, match="Snakefile exists already"):
        init(tmp_path / "study")


def test_other_files_of_the_folder_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine\n")
    assert init(tmp_path).exit_code == 0
    assert (tmp_path / "README.md").read_text() == "mine\n"


@pytest.mark.parametrize("count", [0, 1, 5, 14])
def test_killed_before_any_file_it_can_be_run_again(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    written: list[Path] = []

    def killed(path: Path, text: str) -> bool:
        if len(written) == count:
            raise KeyboardInterrupt
        written.append(path)
        return write_if_changed(path, text)

    other = tmp_path / "other"
    with monkeypatch.context() as patch, pytest.raises(click.Abort):
        patch.setattr("orcac.cli.init.write_if_changed", killed)
        command.main([str(other)], standalone_mode=False)
    assert len(contents(other)) == count < len(contents(study))
    assert init(other).exit_code == 0
    assert contents(other) == contents(study)


def test_a_study_runs_its_own_snakefile_and_no_other(study: Path) -> None:
    assert find_snakefile(study) == study / "Snakefile"
    (study / "Snakefile").write_text("rule all:\n    shell: 'echo of another project'\n")
    assert find_snakefile(study) == ROOT / "Snakefile"
    (study / "Snakefile").unlink()
    assert find_snakefile(study) == ROOT / "Snakefile"


def test_it_says_where_artifacts_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCAC_STORE", "/shared/answers")
    assert "/shared/answers" in init(tmp_path / "study").output


def test_the_wheel_is_told_to_carry_what_is_laid_out() -> None:
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert build["force-include"] == {name: f"orcac/study/{name}" for name in (*RULES, "specs")}
    assert all(name.startswith("specs/") for name in SPECS)


@pytest.mark.parametrize("name", describe_specs())
def test_each_shipped_spec_is_laid_out_with_all_files_that_it_needs(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("ORCAC_DATA", "EVAL", "SMOLLM2"):
        monkeypatch.delenv(variable, raising=False)
    done = init(tmp_path, "--from", name)
    assert f"orcac run specs/{name}.yaml" in done.output
    assert {"Snakefile", "specs/orcac.schema.json", f"specs/{name}.yaml"} <= contents(tmp_path).keys()
    if name in ("recorded", "smollm2", "smollm2-study"):
        assert "environment variables ORCAC_DATA" in done.output
        with pytest.raises(SpecErrors, match="ORCAC_DATA") as error:
            load(tmp_path / "specs" / f"{name}.yaml")
        assert all("ORCAC_DATA" in str(one) or "SMOLLM2" in str(one) for one in error.value.problems)
    else:
        assert "base" in load(tmp_path / "specs" / f"{name}.yaml").arms


def test_the_spec_of_ones_own_questions_takes_them_from_two_files_beside_it(tmp_path: Path) -> None:
    init(tmp_path, "--from", "own")
    path = tmp_path / "specs" / "own.yaml"
    rows = re.findall(r"(?m)^#   (\w+\.jsonl) +(\{.*\})$", path.read_text())
    assert [name for name, _ in rows] == ["questions.jsonl", "test.jsonl"]
    for name, row in rows:
        (path.parent / name).write_text(f"{row}\n" * 2)
    plan = Plan()
    lower(plan, load(path))
    assert not [ref for ref, node in plan.nodes.items() if node.blockers]
    text, count = re.subn(r"(?m)^  # (gpt: \{.*\})$", r"  \1", path.read_text())
    path.write_text(text)
    assert count == 1 and load(path).base.spec.teachers.keys() == {"own", "gpt"}


def test_a_spec_is_added_to_a_study_and_its_own_rules_stay(study: Path) -> None:
    (study / "slurm" / "config.yaml").write_text("mine\n")
    (study / ".gitignore").write_text("mine\n")
    before = contents(study)
    init(study, "--from", "more-expert.yaml")
    added = contents(study)
    assert added.keys() - before.keys() == {"specs/more-expert.yaml", "specs/ingredients.yaml"}
    assert {name: added[name] for name in before} == before
    (study / "specs" / "ingredients.yaml").write_text("mine\n")
    with pytest.raises(InputError, match=r"ingredients\.yaml exists already"):
        init(study, "--from", "more-expert")


def test_the_shipped_specs_are_listed_and_an_unknown_one_is_an_error(tmp_path: Path) -> None:
    listed = CliRunner().invoke(command, ["--from"], catch_exceptions=False).output
    lines = [" ".join(line.split()) for line in listed.splitlines()]
    assert any(line.startswith("modern are a teacher's thoughts worth learning?") for line in lines)
    assert "more-expert a patch on ingredients" in lines
    for name in ("modren", "../tiny", "/etc/passwd"):
        with pytest.raises(InputError, match="no spec") as error:
            init(tmp_path, "--from", name)
        assert "modern, more-expert, openthoughts, orca-13b, own" in (error.value.fix or "")
    with pytest.raises(InputError) as error:
        init(tmp_path, "--from", "modren")
    assert (error.value.fix or "").startswith("did you mean `modern`?")
    assert contents(tmp_path) == {}
    with pytest.raises(InputError, match="needs a DIR"):
        CliRunner().invoke(command, [], catch_exceptions=False)
