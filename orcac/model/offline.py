"""Keeps the Hugging Face libraries to this machine and quiet. Call it before the first import of any of them but
huggingface_hub, through which a student may have been fetched."""

from __future__ import annotations

import logging
import os
import sys


def offline(*, threads: int) -> None:
    """No network, no telemetry, no progress bars, and so many threads for tokenizing."""
    os.environ |= {
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "RAYON_NUM_THREADS": str(threads),
        "TOKENIZERS_PARALLELISM": "true" if threads > 1 else "false",
    }
    if constants := sys.modules.get("huggingface_hub.constants"):  # it read the environment when it was imported
        constants.HF_HUB_OFFLINE = True  # type: ignore[attr-defined]
    # accelerate imports DeepSpeed wherever it is installed, and that says on stdout that a CPU is a CPU.
    logging.getLogger("DeepSpeed").addFilter(_no_accelerator_notice)

    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()


def _no_accelerator_notice(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith("Setting accelerator to CPU")
