"""Keeps the Hugging Face libraries off the network, and quiet."""

from __future__ import annotations

import logging
import os
import sys


def go_offline(*, threads: int) -> None:
    """Turn off the libraries' network access, telemetry and progress bars, and let them tokenize on `threads` threads.

    Call it before the first import of any of them except huggingface_hub, which may have downloaded the student.
    """
    os.environ |= {
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "RAYON_NUM_THREADS": str(threads),
        "TOKENIZERS_PARALLELISM": "true" if threads > 1 else "false",
    }
    if constants := sys.modules.get("huggingface_hub.constants"):  # it read the environment when it was imported
        constants.HF_HUB_OFFLINE = True  # type: ignore[attr-defined]
    # accelerate imports DeepSpeed whenever it is installed, and DeepSpeed logs its choice of a CPU to stdout.
    logging.getLogger("DeepSpeed").addFilter(_is_not_accelerator_notice)
    # peft imports bitsandbytes whenever it is installed, which on some CPUs advises a package that orcac does not use.
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)

    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()


def _is_not_accelerator_notice(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith("Setting accelerator to CPU")
