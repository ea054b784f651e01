"""What all tests share: where the recorded data is, if anywhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of recorded data that ORCAC_DATA names; a test that needs it is skipped without."""
    if not os.environ.get("ORCAC_DATA"):
        pytest.skip("ORCAC_DATA is not set")
    return Path(os.environ["ORCAC_DATA"])
