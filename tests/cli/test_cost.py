"""Tests of orcac/cli/cost.py: the text and the JSON."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from orcac.cli import cli
from orcac.text import dollars

ROOT = Path(__file__).parents[2]
ORCA = str(ROOT / "specs" / "orca-13b.yaml")


@pytest.fixture(autouse=True)
def _empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCAC_STORE", str(tmp_path / "store"))
    monkeypatch.delenv("EVAL", raising=False)


def cost(*arguments: str) -> str:
    result = CliRunner().invoke(cli, ["cost", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_bill_fits_a_terminal_and_says_what_it_rests_on() -> None:
    shown = cost(ORCA)
    assert max(map(len, shown.splitlines())) <= 80
    for line in ("collect flan-5m", "train expert", "base, in all", "+ carried-optimizer", "all arms"):
        assert line in shown
    assert "44%  MFU 0.36 (0.25 to 0.5): prior" in shown


def test_the_modern_study_is_priced_with_nothing_downloaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "empty"))
    priced = json.loads(cost(str(ROOT / "specs" / "modern.yaml"), "--json"))["all"]
    assert priced["requests"]["mid"] == 2000
    assert 0 < priced["usd"]["high"] < 20, "its budget"
    assert priced["gpu_hours"]["low"] > 0


def test_a_long_name_has_a_line_of_its_own() -> None:
    shown = cost(str(ROOT / "specs" / "ingredients.yaml"))
    assert "\n+ expert-at-equal-size\n" in shown


def test_a_script_gets_every_node_and_what_each_arm_adds() -> None:
    told = json.loads(cost(ORCA, "--json"))
    (orca,) = told["experiments"].values()
    assert set(orca["adds"]) > {"no-assistant", "expert-at-5m"}
    low, mid, high = (orca["base"]["usd_spec"][end] for end in ("low", "mid", "high"))
    assert 0 < low < mid < high
    assert orca["adds"]["no-assistant"]["usd"]["mid"] < mid / 100
    assert sum(ref.startswith("train/") for ref in told["nodes"]) >= 5
    assert all(node["basis"] for ref, node in told["nodes"].items() if ref.startswith("collect/"))


def test_several_specs_are_summed_and_nothing_heavy_is_loaded() -> None:
    program = (
        "import sys; from click.testing import CliRunner; from orcac.cli import cli\n"
        f"result = CliRunner().invoke(cli, ['cost', {ORCA!r}, {str(ROOT / 'specs' / 'smoke.yaml')!r}])\n"
        "print(result.stdout)\n"
        "assert result.exit_code == 0, result.output\n"
        "print('loaded', *[name for name in ('pyarrow', 'scipy.stats', 'torch', 'openai') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert "all specs" in done.stdout, done.stderr
    assert done.stdout.splitlines()[-1].strip() == "loaded"


def test_what_costs_less_than_a_cent_fits_its_column() -> None:
    assert dollars(0.000047, 2) == "< 0.01 USD"
    assert (dollars(0.0, 2), dollars(0.05, 2)) == ("0 USD", "0.050 USD")
