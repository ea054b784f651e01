"""Tests of orcac/cli/profile.py: a site's profile holds the given names, and Snakemake reads them as names."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from ruamel.yaml import YAML

from orcac.cli import cli
from orcac.cli.profile import refuse_missing_profile
from orcac.errors import InputError

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


def write(*line: str) -> Result:
    return CliRunner().invoke(cli, ["profile", "slurm", *line], catch_exceptions=False)


def test_a_profile_is_the_shipped_one_with_the_given_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shipped = (ROOT / "slurm" / "config.yaml").read_text()
    assert write().exit_code == 0
    site = tmp_path / "site" / "config.yaml"
    assert YAML(typ="safe").load(site) == YAML(typ="safe").load(shipped)
    with pytest.raises(InputError, match="there is a profile already"):
        write("--account", "lab")
    options = ["--account", "max", "--partition", "cpu,spare", "--qos", "long"]
    options += ["--gpu-partition", "gpu", "--jobs", "20", "--requeue", "--mail", "me@lab.org"]
    assert write("--force", *options).exit_code == 0
    profile = YAML(typ="safe").load(site)
    resources = profile["default-resources"]
    assert (resources["slurm_account"], resources["slurm_partition"]) == ("'max'", "'cpu,spare'")
    assert resources["qos"] == "'long'"
    assert resources["slurm_extra"] == "'--mail-type=FAIL --mail-user=me@lab.org'"
    assert profile["set-resources"]["train"]["slurm_partition"] == "'gpu'"
    assert profile["config"]["chained"] == "sample collect filter rate tokenize score", "those of one partition"
    assert (profile["jobs"], profile["slurm-requeue"]) == (20, True)
    assert "# seconds in which a shared file system" in site.read_text(), "the comments stay"


def test_a_run_with_a_profile_that_is_missing_names_the_commands_that_write_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for variable in ("ORCAC_STORE", "ORCAC_PLAN"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    spec = tmp_path / "spec.yaml"
    spec.write_text(
        "orcac: 1\nname: x\nqueries: {q: {format: puzzles, task: boolean_expressions, size: [3, 5], take: 20}}\n"
        "teachers: {t: {model: expert, endpoint: {kind: solver}}}\ndatasets: {d: {teacher: t, queries: [q]}}\n"
    )
    for arguments in (["--profile", "slurm"], ["--profile=slurm"]):
        with pytest.raises(InputError, match="no such profile in") as caught:
            CliRunner().invoke(cli, ["run", str(spec), *arguments], catch_exceptions=False)
        assert "`orcac profile slurm`" in caught.value.fix and "`orcac init`" in caught.value.fix
    assert not (tmp_path / "ORCAC_STORE").exists()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "config" / "snakemake" / "mine").mkdir(parents=True)
    (tmp_path / "site").mkdir()
    refuse_missing_profile(["--profile", "mine", "--profile", "site", "--profile", str(tmp_path / "site")], tmp_path)
    refuse_missing_profile([], tmp_path)


@pytest.mark.parametrize("option", ["--account", "--partition", "--gpu-partition", "--qos", "--mail"])
@pytest.mark.parametrize("value", ["a b", "a;b", "$(x)", "`x`", "-x", "a'b", "", "a\nb", '"'])
def test_a_value_that_is_not_a_name_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str, value: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=f"{option} .* not a name"):
        write(f"{option}={value}")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(
    importlib.util.find_spec("snakemake_executor_plugin_slurm") is None,
    reason="snakemake-executor-plugin-slurm is not installed (the `slurm` extra)",
)
def test_snakemake_plans_with_the_names(tmp_path: Path) -> None:
    environment = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}

    def run(*line: str) -> str:
        done = subprocess.run(line, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True)
        return done.stdout + done.stderr

    run("orcac", "init", ".", "--from", "smoke")
    # names that Snakemake would read as a number and as a function of Python
    run("orcac", "profile", "slurm", "--account", "1234", "--partition", "max", "--gpu-partition", "gpu")
    planned = run("orcac", "run", "specs/smoke.yaml", "-n", "--profile", "site")
    assert "slurm_partition=gpu" in planned
    assert "slurm_partition=max" in planned and "slurm_account=1234" in planned
