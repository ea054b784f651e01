"""Tests of orcac/spec/judges.py: which prompts a judge shows, and that the shipped ones suit their form."""

from __future__ import annotations

from pathlib import Path

import pytest

from orcac.chat.endpoints.judge import write_review
from orcac.score.judging.reading import READERS, read_review
from orcac.score.recipe import FORMS, Form
from orcac.slots import fill_slots, list_slots
from orcac.spec.judges import read_shipped
from orcac.spec.load import Arm, load

SPEC = """\
orcac: 1
name: judged
teachers: {{t: {{model: expert, endpoint: {{kind: solver}}}}, u: {{model: assistant, endpoint: {{kind: solver}}}}}}
judges:
  mine: {judge}
baselines: [t]
benchmarks:
  b: {{format: open-ended, path: q.jsonl, fields: {{query: q}}, judge: mine, against: [u]}}
"""
OWN = 'reads: first-line\nsystem: Judge.\nprompt: "{question} {answer_1} {answer_2}"\n'


def loaded(folder: Path, judge: str) -> Arm:
    (folder / "q.jsonl").write_text('{"q": "Why?"}\n')
    (folder / "own.yaml").write_text(OWN)
    (folder / "spec.yaml").write_text(SPEC.format(judge=judge))
    return load(folder / "spec.yaml").base


@pytest.mark.parametrize("form", FORMS)
def test_a_review_by_a_shipped_prompt_is_read_by_its_parser(form: Form) -> None:
    readers, slots = FORMS[form]
    assert set(readers) <= READERS.keys()
    for prompt in read_shipped(form).values():
        assert {*list_slots(prompt.text)} == {*slots, "mark"}
        assert prompt.system
        shown = fill_slots(prompt.text, dict.fromkeys(slots, "Some text."))
        review = write_review(shown)
        assert review is not None
        assert len(read_review(prompt.reads, review).numbers) == len(slots) - 1


def test_a_prompt_of_ones_own_replaces_the_shipped_ones_and_one_for_a_category_only_its_task(tmp_path: Path) -> None:
    shipped = read_shipped("pairwise")
    own = loaded(tmp_path, "{teacher: t, prompt: own.yaml}").prompts["mine"]
    assert own.keys() == {""} and own[""].system == "Judge."
    both = loaded(tmp_path, "{teacher: t, prompt: own.yaml, per_category: {sums: own.yaml}}").prompts["mine"]
    assert both == {"": own[""], "sums": own[""]}
    added = loaded(tmp_path, "{teacher: t, per_category: {math: own.yaml}}").prompts["mine"]
    assert added == shipped | {"math": own[""]}
    assert loaded(tmp_path, "{teacher: t}").prompts["mine"] == shipped
