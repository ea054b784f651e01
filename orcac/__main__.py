"""The command line as a module: `python -m orcac` runs `orcac`."""

import sys

if not sys.flags.safe_path:
    del sys.path[0]  # the working folder, whose modules are not ours: a `transformers.py`, for example

from orcac.cli import main

main()
