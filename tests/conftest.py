"""Fixtures of all tests: the folder of recorded data."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("orcac", deadline=None)  # no test depends on the speed of the machine
settings.load_profile("orcac")
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs inherit that it is ignored


@pytest.fixture(scope="session")
def data() -> Path:
    """Return the folder of recorded data that ORCAC_DATA names; skip the test if it is not set."""
    if not os.environ.get("ORCAC_DATA"):
        pytest.skip("ORCAC_DATA is not set")
    return Path(os.environ["ORCAC_DATA"])
