"""Tests of orcac/cli/power.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from orcac.cli.power import command
from orcac.errors import InputError

SPECS = Path(__file__).parents[2] / "specs"
SMOKE = (SPECS / "smoke.yaml").read_text()


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ORCAC_STORE", str(tmp_path / "store"))
    path = tmp_path / "smoke.yaml"
    path.write_text(SMOKE)
    return path


def run(spec: Path, *options: str) -> Result:
    return CliRunner().invoke(command, [str(spec), *options])


def test_without_replicates_no_verdict_on_an_arm_is_promised(spec: Path) -> None:
    result = run(spec)
    assert result.exit_code == 0, result.output
    assert "write `replicates: 3`" in result.output
    spec.write_text(SMOKE + "replicates: {base: 4, arms: 3}\n")
    result = run(spec)
    assert "write `replicates: 3`" not in result.output and "3 + 4" in result.output
    assert max(map(len, result.output.splitlines()[2:])) <= 100  # the first line has the path


def test_the_family_is_of_the_primary_arms(spec: Path) -> None:
    spec.write_text(SMOKE + "replicates: 3\nsweep: {stages.second.epochs: [1, 3]}\nprimary: [no-first]\n")
    result = run(spec, "--detect", "40pt")
    assert result.exit_code == 0, result.exception
    lines = result.output.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("  no-first "))
    assert "exploratory" not in lines[at] and "of 1" in result.output
    others = [line for line in lines[at + 1 :] if "3 + 3" in line]
    assert others and all(" exploratory " in line for line in others)
    words = " ".join(result.output.split())
    assert f"Primary: no-first. Verdicts: 1 of the {1 + len(others)} comparisons; the others are exploratory." in words
    assert "the cheapest allocation luck" in words


def test_a_given_luck_of_training_replaces_the_planning_values(spec: Path) -> None:
    spec.write_text(SMOKE + "replicates: 3\n")

    def smallest(*options: str) -> list[float]:
        (found, *_) = json.loads(run(spec, *options, "--json").output)
        values: list[float] = found["alone"]
        return values

    (at_one, at_two), (given,) = smallest(), smallest("--luck", "2pt")
    assert given == at_two > at_one and smallest("--luck", "5 points")[0] > at_two
    assert "For a luck of training of 5 points, as given" in " ".join(run(spec, "--luck", "5pt").output.split())


def test_claims_and_untrained_arms_are_named(spec: Path) -> None:
    margin = SMOKE.replace("max_tokens: 120}", "max_tokens: 120, margin: 40pt}")
    spec.write_text(margin + "replicates: 3\n")
    assert "is found equal within 40 points in " in " ".join(run(spec).output.split())
    as_they_are = margin.replace("curriculum: [first, second]", "curriculum: []")
    spec.write_text(as_they_are.replace("curriculum: [second]", "student: {max_length: 128}"))
    output = run(spec).output
    assert "neither this nor the base is trained" in output and "write `replicates" not in output


def test_the_cheapest_allocation_shows_the_difference_or_says_what_the_budget_shows(spec: Path) -> None:
    found = run(spec, "--detect", "40pt").output.partition("the cheapest allocation")[2]
    assert "replicates: {base: " in found and found.count("points with") == 2
    none = run(spec, "--detect", "1 point", "--budget", "20h").output.partition("within 20 h")[2]
    assert none.count("1 points are not shown; ") == 2 and "points with" in none


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--detect", "two"], "not a number of points"),
        (["--luck", "-1"], "not a number of points"),
        (["--budget", "5 EUR"], "not an amount"),
    ],
)
def test_a_wrong_option_is_an_error_with_a_fix(spec: Path, options: list[str], words: str) -> None:
    error = run(spec, *options).exception
    assert isinstance(error, InputError) and words in str(error) and error.fix


def test_a_budget_in_dollars_limits_only_trainings_that_have_a_price(spec: Path) -> None:
    def show(*options: str) -> str:
        result = run(spec, *options)
        assert result.exit_code == 0, result.exception
        return " ".join(result.output.split())

    free = show("--budget", "5USD")
    assert "No model that it asks costs any, so 5.0 USD allow any number of training runs" in free
    assert "the cheapest allocation" not in free
    assert "the cheapest allocation luck" in show("--budget", "5USD", "--detect", "40pt")
    solver = "endpoint: {kind: solver}"
    assert solver in SMOKE
    spec.write_text(SMOKE.replace(solver, f"{solver}\n    price: {{input: 2_000, output: 2_000}}"))
    assert "USD, which is more than 5.0 USD, and fewer training runs do not make it cheaper" in show("--budget", "5USD")
    spec.write_text(f"{SMOKE}hardware: {{train: {{gpus: 1, gpu: a100-80gb}}}}\n")
    assert "within 20 GPU h" in show("--budget", "20h")
    spec.write_text(f"{SMOKE}hardware: {{train: {{gpus: 1, gpu: a100-80gb, price: 2}}}}\n")
    assert "within 5.0 USD" in show("--budget", "5USD")
    error = run(spec, "--budget", "20h").exception
    assert isinstance(error, InputError) and "priced in USD, not in h" in str(error) and "500USD" in error.fix


def test_a_spec_with_one_arm_has_nothing_to_compare(spec: Path) -> None:
    spec.write_text(SMOKE.partition("\nablations:")[0])
    error = run(spec).exception
    assert isinstance(error, InputError) and "no arm to compare" in str(error)


def test_the_figures_are_printed_as_json(spec: Path) -> None:
    rows = json.loads(run(spec, "--json").output)
    assert {row["arm"] for row in rows} and all(row["alone"] for row in rows)
