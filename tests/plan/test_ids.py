"""The ids of every shipped spec are those of earlier versions, so that finished and paid artifacts stay in use.

golden/ids.txt has a line for each node: the spec's name, a tab, KIND/ID. Of a spec of thousands of nodes it has one
line, with their number and their digest. An intended change of ids, with a higher VERSION of the kind or another
IDENTITY, replaces the lines of the specs that it affects.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from orcac.plan.lower import lower
from orcac.plan.plan import Plan
from orcac.spec.load import load

SPECS = Path(__file__).parents[2] / "specs"
GOLDEN = Path(__file__).parent / "golden" / "ids.txt"
MINIATURE = ("miniature", "miniature-lies", "miniature-navigate")
LARGE = ("openthoughts", *MINIATURE, *(name.replace("miniature", "miniature-rates") for name in MINIATURE))
# the sources and recordings of these are in the folder that ORCAC_DATA names
NEED_DATA = ("recorded", "smollm2", "smollm2-study")
CHANGE_WITH_DATA = ("ingredients",)  # its benchmark `bbh` is `missing: skip`


def expected(name: str) -> set[str]:
    lines = [line.split("\t") for line in GOLDEN.read_text().splitlines()]
    return {ref for spec, ref in lines if spec == name}


def compiled(name: str) -> set[str]:
    plan = Plan()
    lower(plan, load(SPECS / f"{name}.yaml"))
    if name in LARGE:
        return {f"{len(plan.nodes)} nodes, sha256 {hashlib.sha256(' '.join(sorted(plan.nodes)).encode()).hexdigest()}"}
    return set(plan.nodes)


def test_the_golden_file_has_every_shipped_spec() -> None:
    names = {line.split("\t")[0] for line in GOLDEN.read_text().splitlines()}
    with_data = {f"{name} with data" for name in (*NEED_DATA, *CHANGE_WITH_DATA)}
    assert names == {path.stem for path in SPECS.glob("*.yaml")} - set(NEED_DATA) | with_data


@pytest.mark.parametrize("name", sorted({path.stem for path in SPECS.glob("*.yaml")} - set(NEED_DATA)))
def test_the_ids_of_a_spec_are_those_of_earlier_versions(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("ORCAC_DATA", "EVAL"):
        monkeypatch.delenv(variable, raising=False)
    assert compiled(name) == expected(name)


@pytest.mark.data
@pytest.mark.parametrize("name", (*NEED_DATA, *CHANGE_WITH_DATA))
def test_the_ids_of_a_spec_with_data_are_those_of_earlier_versions(
    data: Path, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text("{}")  # in place of the student of `smollm2`, which is not shipped
    monkeypatch.setenv("SMOLLM2", str(tmp_path))
    assert compiled(name) == expected(f"{name} with data")
