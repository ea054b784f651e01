"""Runs one rank of a stage, and sends itself a signal if it is rank RANK:
`python rank_child.py RANK NAME:CALL SIGNAL STAGE.json`."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # a rank's Python does not look into its script's folder
import train_child

if __name__ == "__main__":
    rank, place, number, stage_file = sys.argv[1:]
    if os.environ["RANK"] == rank:
        name, call = place.split(":")
        train_child.signal_at_call(name, int(call), int(number))
    sys.argv[1:] = [stage_file]
    from orcac.train.worker import main

    main()
