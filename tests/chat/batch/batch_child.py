"""A collecting process in batches, to kill: `batch_child.py FOLDER BASE_URL SETTINGS`; exits as `orcac make` does."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
from jobs import collect_job, run_collect

from orcac.chat.batch.tuning import Tuning
from orcac.chat.settings import Price
from orcac.errors import OrcacError

if __name__ == "__main__":
    price, settings = Price(input=1e6, output=2e6), json.loads(sys.argv[3])
    job = collect_job(Path(sys.argv[1]), sys.argv[2], **{"mode": "batch", "price": price, **settings})
    try:
        run_collect(job, Tuning(poll_s=0.02, max_poll_s=0.02, settle_s=1.0))
    except OrcacError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
