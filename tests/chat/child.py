"""A collecting process to kill: `python child.py FOLDER BASE_URL` makes FOLDER/out from FOLDER/prompts."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from jobs import collect_job

from orcac.collect.run import run

if __name__ == "__main__":
    run(collect_job(Path(sys.argv[1]), sys.argv[2]))
