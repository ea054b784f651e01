"""Tests of orcac/job.py: a job's folders and progress, and the memory that its process needs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from jobs import make_job

from orcac.recipe import Recipe

_CODE = """
import sys
from orcac.job import save_memory
save_memory()
save_memory()
import pyarrow as pa
assert pa.array([1, 2]).to_numpy().tolist() == [1, 2]
assert "pandas" not in sys.modules, "Arrow loaded it"
assert pa.default_memory_pool().backend_name == "system"
assert not any("NoPandas" in repr(finder) for finder in sys.meta_path), "others may import it"
"""


def test_a_job_that_saves_memory_loads_no_pandas_and_others_may() -> None:
    subprocess.run([sys.executable, "-c", _CODE], check=True)


@pytest.mark.parametrize("kind", ["sample", "filter", "eval"])
def test_kinds_that_keep_their_memory_pool_load_no_pandas_either(kind: str) -> None:
    """A job without an input fails after it has hidden pandas, which is as much of a run as this needs."""
    code = (
        "import contextlib, sys\nfrom unittest.mock import MagicMock\n"
        f"from orcac.{kind}.run import run\n"
        "job = MagicMock()\njob.input.side_effect = job.recipe.form = KeyError\n"
        "with contextlib.suppress(Exception): run(job)\n"
        "import pyarrow as pa\npa.array([1])\nassert 'pandas' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_role_with_one_input_gives_its_folder_and_progress_goes_to_work(tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    job = make_job(tmp_path, Recipe(), inputs={"items": folders[:1], "benchmarks": folders})
    assert job.input("items") == folders[0]
    with pytest.raises(ValueError):
        job.input("benchmarks")
    job.progress(2, "answers").update(2)
    assert json.loads((job.work / "progress.json").read_text())["unit"] == "answers"
