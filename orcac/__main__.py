"""The command line as a module: `python -m orcac` runs `orcac`."""

from orcac.cli import main

main()
