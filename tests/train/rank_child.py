"""A rank that is sent a signal: `python rank_child.py RANK NAME:CALL SIGNAL STAGE.json`. Others train as they are."""

import os
import sys

import train_child

if __name__ == "__main__":
    rank, place, number, told = sys.argv[1:]
    if os.environ["RANK"] == rank:
        name, call = place.split(":")
        train_child.at_call(name, int(call), int(number))
    sys.argv[1:] = [told]
    from orcac.train.worker import main

    main()
