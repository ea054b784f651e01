"""The arguments of `vllm serve` that a spec may give by itself.

A spec may be a stranger's. Some arguments of vLLM run code of the model's author (`--trust-remote-code`), load modules
by name, open the server to the network or replace its key. So a spec may give only those listed here, which set sizes
and speeds; all others must be allowed by the user, in the environment variable ORCAC_VLLM_ARGUMENTS: names of arguments
with spaces between them. A file beside the spec could not allow them, since it may come with the spec.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

__all__ = ["ALLOWED_VARIABLE", "find_mistakes"]

ALLOWED_VARIABLE = "ORCAC_VLLM_ARGUMENTS"
_LIST = """
    --max-model-len --gpu-memory-utilization --tensor-parallel-size -tp --pipeline-parallel-size -pp
    --data-parallel-size -dp --enable-expert-parallel --dtype --quantization -q --kv-cache-dtype --block-size
    --max-num-seqs --max-num-batched-tokens --max-logprobs --max-seq-len-to-capture --max-cudagraph-capture-size
    --enforce-eager --no-enforce-eager --enable-prefix-caching --no-enable-prefix-caching --enable-chunked-prefill
    --no-enable-chunked-prefill --async-scheduling --no-async-scheduling --swap-space --cpu-offload-gb --seed
    --rope-scaling --rope-theta --revision --tokenizer-revision --reasoning-parser --generation-config
    --disable-log-stats --disable-log-requests --no-enable-log-requests --uvicorn-log-level --disable-sliding-window
    --disable-cascade-attn --disable-custom-all-reduce --language-model-only
"""
_HARMLESS = frozenset(_LIST.split())


def find_mistakes(model: str, arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the argument, or "model", and the reason for each value that would switch on more than a spec may."""
    if model.startswith("-"):
        yield "model", f"`{model}` would be read as an argument of vLLM; write the name of a model"
    allowed = _HARMLESS | {_name(word) for word in os.environ.get(ALLOWED_VARIABLE, "").split()}
    is_value = False  # of the argument before it
    for word in arguments:
        if word.startswith("-") and not _is_number(word):
            is_value = "=" not in word
            if _name(word) not in allowed:
                why = f"a spec may not give vLLM `{_name(word)}`, since such arguments can run code or open the server"
                yield word, f"{why}; if you trust this spec, export {ALLOWED_VARIABLE}={_name(word)}"
        elif not is_value:
            yield word, f"`{word}` follows no argument of vLLM that takes it; write `--name=value`"
        else:
            is_value = False


def _name(word: str) -> str:
    """Return the name of an argument; vLLM reads `--max_model_len=9` as `--max-model-len`."""
    name = word.partition("=")[0]
    return name.replace("_", "-") if name.startswith("--") else name


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
