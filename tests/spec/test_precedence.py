"""Tests of orcac/spec/load.py and orcac/spec/arms.py: the precedence of default, extended spec, spec, arm and sweep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orcac.errors import InputError
from orcac.spec.load import Experiment, load
from orcac.spec.schema import PAPERS_EPOCHS
from orcac.spec.units import BatchSize

WHOLE = """\
orcac: 1
name: whole
queries: {q: {format: puzzles, task: navigate, size: [3, 5], take: 10}}
teachers: {t: {model: expert, endpoint: {kind: solver}}}
datasets: {d: {teacher: t, queries: [q]}}
student: {size: tiny, tokenizer: {vocabulary: 400, train_on: [d]}}
stages: {s: {dataset: d}}
curriculum: [s]
"""


def chain(folder: Path, *levels: str) -> Experiment:
    """Write a complete spec and specs that extend one another in turn. Returns the last of them, loaded."""
    (folder / "0.yaml").write_text(WHOLE)
    for number, text in enumerate(levels, 1):
        (folder / f"{number}.yaml").write_text(f"extends: {number - 1}.yaml\nname: level-{number}\n{text}")
    return load(folder / f"{len(levels)}.yaml")


def epochs(experiment: Experiment) -> dict[str, int | None]:
    return {name: arm.spec.stages["s"].epochs for name, arm in experiment.arms.items()}


@pytest.mark.parametrize("first", range(5))
def test_the_last_level_that_gives_a_value_decides(tmp_path: Path, first: int) -> None:
    """Each level from `first` on gives its own number of epochs."""
    written = [f"stages: {{s: {{epochs: {10 + level}}}}}\n" if level >= first else "" for level in range(3)]
    arm = "{epochs: 13}" if first <= 3 else "{batch: 8 rows}"
    levels = [
        *written[:2],
        f"{written[2]}ablations: {{arm: {{stages: {{s: {arm}}}}}}}\nsweep: {{stages.s.epochs: [14]}}\n",
    ]
    base = 12 if first <= 2 else PAPERS_EPOCHS
    assert epochs(chain(tmp_path, *levels)) == {
        "base": base,
        "arm": 13 if first <= 3 else PAPERS_EPOCHS,
        "base.epochs-14": 14,
        "arm.epochs-14": 14,
    }


def test_a_level_keeps_the_values_below_that_it_does_not_give(tmp_path: Path) -> None:
    experiment = chain(
        tmp_path,
        "seed: 1\nfilters: {min_characters: 5}\n",
        "filters: {max_characters: 9}\n",
        "seed: 3\nablations: {arm: {filters: {min_characters: 7}}}\nsweep: {student.max_length: [64]}\n",
    )
    spec = experiment.arms["arm.max_length-64"].spec
    assert (spec.seed, spec.filters.min_characters, spec.filters.max_characters) == (3, 7, 9)
    assert (spec.student.max_length, spec.student.size, spec.name) == (64, "tiny", "level-3")


def test_null_removes_a_value_of_the_level_below(tmp_path: Path) -> None:
    arm = "ablations: {arm: {stages: {s: {epochs: null}}, budget: null}}\n"
    experiment = chain(
        tmp_path, "stages: {s: {epochs: 9, batch: 8 rows}}\nbudget: 1 USD\n", "", "stages: {s: {batch: null}}\n" + arm
    )
    assert [arm.spec.stages["s"].batch for arm in experiment.arms.values()] == [BatchSize(160), BatchSize(160)]
    assert epochs(experiment) == {"base": 9, "arm": 4}
    assert [arm.spec.budget for arm in experiment.arms.values()] == [1.0, None]


def test_lists_and_scalars_replace_and_maps_merge(tmp_path: Path) -> None:
    more = "queries: {r: {format: puzzles, task: navigate, size: [3, 5], take: 10}}\ndatasets: {d: {queries: [r]}}\n"
    spec = chain(tmp_path, more).base.spec
    assert list(spec.queries) == ["q", "r"]
    assert spec.datasets["d"].queries == ("r",)


def test_arms_and_sweeps_are_inherited_and_can_be_removed(tmp_path: Path) -> None:
    arms = "ablations: {one: {seed: 5}, two: {seed: 6}}\nsweep: {stages.s.epochs: [8]}\n"
    assert list(chain(tmp_path, arms, "ablations: {one: null}\nsweep: null\n").arms) == ["base", "two"]


def test_an_environment_variable_affects_only_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "q.jsonl").write_text('{"q": "1 + 1?"}\n')
    monkeypatch.setenv("ORCAC_HERE", str(tmp_path))
    files = 'about: "${ORCAC_HERE}"\nqueries: {f: {format: jsonl, path: "${ORCAC_HERE}/q.jsonl", fields: {query: q}}}\n'
    base = chain(tmp_path, files).base
    assert base.files["queries", "f", "path"].files == (tmp_path / "q.jsonl",)
    assert base.spec.about == "${ORCAC_HERE}"


def test_an_arm_equals_its_patch_as_a_spec_of_its_own(tmp_path: Path) -> None:
    arms: dict[str, Any] = {
        "one": "stages: {s: {epochs: 1}, t: {dataset: d}}\ncurriculum: [s, t]\n",
        "two": "datasets: {e: {teacher: t, sample: {from: d, take: 5}}}\nfilters: {agreement: true}\n",
        "three": "queries: {q: {take: 20}}\nbudget: 3 USD\nsystem_messages: {draw: {q: [1]}}\n",
    }
    patches = "".join(
        f"  {name}:\n" + "".join(f"    {line}\n" for line in text.splitlines()) for name, text in arms.items()
    )
    loaded = chain(tmp_path, f"ablations:\n{patches}").arms
    for name, text in arms.items():
        own = chain(tmp_path, text).base.spec
        assert loaded[name].spec.model_dump(exclude={"name", "extends"}) == own.model_dump(exclude={"name", "extends"})


def test_an_inherited_arm_can_be_patched(tmp_path: Path) -> None:
    under = "budget: 5 USD\nablations: {arm: {stages: {s: {epochs: 7, batch: 8 rows}}, seed: 2}}\n"
    over = "ablations: {arm: {stages: {s: {epochs: null}}, budget: null}}\n"
    spec = chain(tmp_path, under, over).arms["arm"].spec
    assert (spec.stages["s"].epochs, spec.stages["s"].batch, spec.seed, spec.budget) == (4, BatchSize(8), 2, None)


def test_a_swept_value_equals_the_spec_only_if_its_type_is_equal(tmp_path: Path) -> None:
    assert epochs(chain(tmp_path, "stages: {s: {epochs: 1}}\nsweep: {stages.s.epochs: [1, 2]}")) == {
        "base": 1,
        "base.epochs-2": 2,
    }
    with pytest.raises(InputError, match="got `true`"):
        chain(tmp_path, "stages: {s: {epochs: 1}}\nsweep: {stages.s.epochs: [true, 2]}")
