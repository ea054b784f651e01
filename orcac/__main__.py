"""`python -m orcac` is `orcac`."""

from orcac.cli import main

main()
