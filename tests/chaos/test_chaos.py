"""A short round of tests/chaos: a study under random failures ends with the bytes of an undisturbed run.

`make chaos` is the long form. The seed is printed; CHAOS_SEED repeats it.
"""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import pytest

from chaos.__main__ import run_round
from chaos.driver import Record, run_undisturbed
from chaos.record import format_record

EPOCHS, EVENTS, GAP = 1, 6, 0.15


@pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")
def test_a_study_under_random_failures_ends_with_the_bytes_of_an_undisturbed_run(tmp_path: Path) -> None:
    seed = int(os.environ.get("CHAOS_SEED", random.randrange(1 << 30)))
    print(f"CHAOS_SEED={seed}")
    expected, record = run_undisturbed(tmp_path / "undisturbed", epochs=EPOCHS), Record()
    run_round(tmp_path / "disturbed", record, seed=seed, epochs=EPOCHS, events=EVENTS, gap=GAP, expected=expected)
    table = format_record(record)
    print(table)
    assert record.compared and not record.different, table
    assert record.flips and not record.missed, table
    assert record.paid_twice <= record.in_flight, table
    assert sum(record.kills.values()) + sum(record.troubles.values()) >= 1, table
