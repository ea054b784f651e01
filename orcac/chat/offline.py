"""Keeps the Hugging Face libraries to this machine and quiet. Call it before the first import of any of them."""

from __future__ import annotations

import os


def offline(*, threads: int) -> None:
    """No network, no telemetry, no progress bars; `threads` for tokenizing and for tensors not yet in use."""
    os.environ |= {
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "RAYON_NUM_THREADS": str(threads),
        "TOKENIZERS_PARALLELISM": "true" if threads > 1 else "false",
    }
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
