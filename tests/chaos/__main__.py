"""`PYTHONPATH=tests python -m chaos`: rounds of random failures for some minutes, and a table of what happened."""

from __future__ import annotations

import argparse
import contextlib
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from .driver import Disk, Record, Round, Undisturbed, run_undisturbed
from .record import format_record
from .slurm import Daemons
from .study import Study, Teachers

SHORT, LONG = 3, 20  # epochs of a stage: seconds, and so long that a kill finds checkpoints


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--events", type=int, default=12, help="failures in a round")
    parser.add_argument("--gap", type=float, default=0.1, help="mean time between two failures, in undisturbed runs")
    parser.add_argument("--slurm", type=Path, metavar="UP", help="start a private Slurm for every second round")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep a copy of a failed round's study here")
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    record, until, expected = Record(), time.monotonic() + 60 * given.minutes, dict[int, Undisturbed]()
    number = 0
    with tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True) as text:
        folder = Path(text)
        while time.monotonic() < until:
            epochs = LONG if number % 4 == 3 else SHORT
            if epochs not in expected:
                expected[epochs] = run_undisturbed(folder / f"undisturbed-{epochs}", epochs=epochs)
            up = given.slurm if number % 2 == 0 else None
            seed = given.seed + number
            run_round(
                folder / f"round-{number}", record, seed=seed, epochs=epochs, events=given.events, gap=given.gap,
                expected=expected[epochs], slurm=up, keep=given.keep,
            )  # fmt: skip
            number += 1
            print(f"\nafter {number} rounds\n{format_record(record)}", flush=True)
    return int(bool(record.different or record.missed))


def run_round(
    folder: Path,
    record: Record,
    *,
    seed: int,
    epochs: int,
    events: int,
    gap: float,
    expected: Undisturbed,
    slurm: Path | None = None,
    keep: Path | None = None,
) -> None:
    """Run one round in a new folder, on a small disk of its own. A failed round's study is copied to `keep`."""
    with contextlib.ExitStack() as stack:
        disk = stack.enter_context(Disk(folder))
        teachers = Teachers(seed, share=0.2)
        stack.enter_context(teachers.server)
        daemons = stack.enter_context(Daemons(slurm)) if slurm else None
        study = Study(folder / "study", url=teachers.server.base_url, epochs=epochs, slurm=bool(daemons))
        stack.callback(study.kill_all)
        try:
            Round(study, teachers, record, seed=seed, disk=disk, expected=expected, gap=gap, daemons=daemons).run(
                events=events
            )
        except BaseException:
            print(f"the round with seed {seed} and {epochs} epochs failed", file=sys.stderr)
            if keep:
                shutil.copytree(folder, keep / folder.name, ignore_dangling_symlinks=True)
            raise


if __name__ == "__main__":
    sys.exit(main())
