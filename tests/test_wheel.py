"""Tests of the wheel: it is built, compared with the checkout, installed without a checkout, and used there.

It is installed into an empty environment. Dependencies come from the running environment by a .pth file, since to fetch
them takes minutes. Such a file adds a folder and does not read the .pth files in that folder, so an editable install of
the checkout is not found; the test checks this before it installs the wheel. (`orcac` alone may be found: hatchling
puts the data files of a wheel into an editable install, without the package.)
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(importlib.util.find_spec("hatchling") is None, reason="hatchling is not installed")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    line = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*line, "--wheel-dir", folder, ROOT], check=True, timeout=120)
    (path,) = folder.glob("orcac-*.whl")
    return path


def test_the_wheel_holds_the_files_of_the_checkout(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name: archive.read(name) for name in archive.namelist() if ".dist-info/" not in name}
    study = {name.removeprefix("orcac/study/"): text for name, text in held.items() if name.startswith("orcac/study/")}
    package = {name: text for name, text in held.items() if not name.startswith("orcac/study/")}
    for name, text in (package | study).items():
        assert text == (ROOT / name).read_bytes(), name
    files = [ROOT / "Snakefile", *(path for top in ("rules", "profiles", "slurm") for path in (ROOT / top).rglob("*"))]
    assert {path.relative_to(ROOT).as_posix() for path in files if path.is_file()} <= study.keys()
    files = [path for path in (ROOT / "orcac").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert package.keys() == {path.relative_to(ROOT).as_posix() for path in files}


def test_installed_where_there_is_no_checkout_it_lays_out_a_study_that_runs(wheel: Path, tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("ORCAC_", "PYTHON"))}
    place = tmp_path / "venv"

    def call(*line: str | Path, cwd: Path = tmp_path, code: int = 0, **more: str) -> str:
        done = subprocess.run(
            [place / "bin" / line[0], *line[1:]], cwd=cwd, env=environment | more, capture_output=True, text=True
        )
        assert done.returncode == code, f"{line}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    (site,) = place.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text("\n".join(path for path in sys.path if Path(path).name == "site-packages"))
    call("python", "-c", "import click, snakemake")
    assert "No module named 'orcac" in call("python", "-c", "import orcac.cli", code=1)
    pip = [sys.executable, "-m", "pip", "--python", place / "bin" / "python"]
    subprocess.run([*pip, "install", "--quiet", "--no-deps", "--no-index", wheel], check=True, timeout=120)
    assert call("python", "-c", "import orcac; print(orcac.__file__)").startswith(str(site))

    assert "init" in call("orcac", "--help")
    call("orcac", "init", "study")
    study = tmp_path / "study"
    call("orcac", "compile", "specs/study.yaml", cwd=study)
    said = call("python", "-m", "snakemake", "-n", "--cores", "1", cwd=study)
    assert "rule train:" in said
    if importlib.util.find_spec("snakemake_executor_plugin_slurm"):
        assert "rule train:" in call("python", "-m", "snakemake", "-n", "--profile", "slurm", cwd=study)

    # one real job: it must find the wheel's `orcac`, and rules and command line must mean the same store
    plan = json.loads((study / "build" / "plan.json").read_text())
    ref, store = next(ref for ref in plan["order"] if ref.startswith("sample/")), str(tmp_path / "store")
    call("python", "-m", "snakemake", "--cores", "1", f"{store}/{ref}/artifact.json", cwd=study, ORCAC_STORE=store)
    states = json.loads(call("orcac", "status", "--json", cwd=study, ORCAC_STORE=store))["states"]
    assert [ref for ref, state in states.items() if state["name"] == "done"] == [ref]
    assert not (study / "store").exists()
