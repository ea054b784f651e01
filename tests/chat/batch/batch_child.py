"""A collecting process in batches, to kill: `batch_child.py FOLDER BASE_URL SETTINGS`; exits as `orcac make` does."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
from jobs import collect_job

from orcac.chat.batch import steps as batch_steps
from orcac.chat.settings import Price
from orcac.collect.run import run
from orcac.errors import OrcacError

if __name__ == "__main__":
    batch_steps._POLL_S = batch_steps._POLL_MOST_S = 0.02
    batch_steps._SETTLE_S = 1.0
    try:
        price = Price(input=1e6, output=2e6)
        run(collect_job(Path(sys.argv[1]), sys.argv[2], mode="batch", price=price, **json.loads(sys.argv[3])))
    except OrcacError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
