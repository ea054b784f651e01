"""Tests of orcac/plan/sources.py: local files as content, and the seeds of generated tasks."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from orcac.digest import file_digest
from orcac.errors import InputError
from orcac.plan.sources import FileDigests, find_matching, lower_file_source, lower_puzzles
from orcac.recipe import MATCHING, HubRef
from orcac.sample.recipe import Source
from orcac.spec import schema
from orcac.spec.paths import FileSet


@pytest.fixture
def model(tmp_path: Path) -> Path:
    for name in ("config.json", "shards/1.safetensors"):
        (tmp_path / "model" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "model" / name).write_text(name)
    return tmp_path / "model"


def test_a_file_of_a_named_folder_keeps_its_path_in_it_and_any_other_its_base_name(model: Path) -> None:
    found = tuple(path for path in sorted(model.rglob("*")) if path.is_file())
    digests = FileDigests()
    assert [ref.name for ref in digests.lower(FileSet(found, model)).refs] == ["config.json", "shards/1.safetensors"]
    files = digests.lower(FileSet(found))
    assert [ref.name for ref in files.refs] == ["1.safetensors", "config.json"]
    assert files.paths == {file_digest(path): str(path) for path in found}
    assert digests.lower(None).refs == ()


def test_each_file_is_read_once(model: Path) -> None:
    read: list[Path] = []

    def compute(path: Path) -> str:
        read.append(path)
        return file_digest(path)

    digests = FileDigests(compute)
    for _ in range(3):
        digests.lower(FileSet((model / "config.json",)))
    assert read == [model / "config.json"]


def test_a_file_that_breaks_off_while_it_is_read_is_an_error_that_names_it() -> None:
    def compute(path: Path) -> str:
        raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(InputError, match=r"q\.jsonl: cannot be read \(Input/output error\)") as caught:
        FileDigests(compute).digest(Path("q.jsonl"))
    assert caught.value.fix


def test_the_seed_of_generated_tasks_depends_on_the_spec_seed_and_on_the_address() -> None:
    queries = schema.GeneratedQueries(format="puzzles", task="navigate", size=(3, 5), take=10)
    addresses = [(1, "queries/a"), (1, "queries/b"), (1, "benchmarks/a"), (2, "queries/a"), (1, "queries/a")]
    sources = [lower_puzzles(queries, seed, address) for seed, address in addresses]
    assert all(source.puzzles and source.puzzles.count == 10 for source in sources)
    assert len({source.puzzles.seed for source in sources if source.puzzles}) == 4
    assert sources[0] == sources[-1]


FOUND = FileSet(hub=(HubRef(repo="some/where"),), absent=("late.json",))


@pytest.mark.parametrize(
    ("queries", "form", "fields"),
    [
        (schema.TableQueries(format="parquet", path=("p",), fields={"query": "q"}), "parquet", {"query": "q"}),
        (schema.FormQueries(format="flan-cot", path=("p",)), "flan-cot", {}),
        (schema.FormBenchmark(format="bbh", path=("p",)), "bbh", {}),
        (schema.TruthfulQABenchmark(format="truthfulqa", path=("p",)), "truthfulqa", {}),
        (
            schema.OpenBenchmark(format="open-ended", path=("p",), fields={"query": "q"}, judge="j", against=("t",)),
            "jsonl",
            {"query": "q"},
        ),
    ],
    ids=["table", "published format", "benchmark", "truthfulqa", "open-ended"],
)
def test_a_file_source_has_its_format_its_fields_and_the_files_that_were_found(
    queries: schema.Queries | schema.Benchmark, form: str, fields: dict[str, str]
) -> None:
    assert not isinstance(queries, schema.GeneratedQueries | schema.GeneratedBenchmark)
    source = lower_file_source(queries, FOUND, FileDigests().lower(FOUND))
    assert (source.format, source.fields, source.hub, source.absent) == (form, fields, FOUND.hub, FOUND.absent)


@pytest.mark.parametrize(
    ("format", "fields", "text", "matching"),
    [
        ("jsonl", {"query": "q", "reference": "r", "options": "o"}, "", MATCHING),
        ("parquet", {"query": "q", "references": "r", "options": "o"}, "", MATCHING),
        ("jsonl", {"query": "q", "options": "o"}, "", None),  # nothing to match
        ("jsonl", {"query": "q", "reference": "r"}, r"Options:\n- Line 1: x\n- Line 2: y", MATCHING),
        ("jsonl", {"query": "q", "reference": "r"}, r"Options:\n- (A) x\n- Line 2: y", None),
        ("jsonl", {"query": "q"}, r"Options:\n- Line 1: x", None),
        ("flan-cot", {}, r"OPTIONS: \n- Choice A: x", MATCHING),
        ("flan-cot", {}, r"Options:\n- yes\n- no. Notes:\n- Choice A: x", None),
        ("agieval", {}, r"Options:\n- Choice A: x", None),
    ],
)
def test_the_rule_of_references_is_for_sources_that_may_name_options_otherwise_than_by_text(
    tmp_path: Path, format: str, fields: dict[str, str], text: str, matching: int | None
) -> None:
    """All others keep the ids that they had before there was a rule."""
    path = tmp_path / "file"
    path.write_text(text)
    source = Source(format=format, fields=fields)  # type: ignore[arg-type]
    assert find_matching(source, FileSet((path, tmp_path / "gone")), FileDigests()) == matching
    assert find_matching(source, None, FileDigests()) == (matching if "options" in fields else None)
