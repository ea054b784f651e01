"""A student from a GGUF file, as llama.cpp has them: turned into an ordinary Hugging Face model directory.

transformers reads the file; what it passes over in silence is looked at here, since a student that is a little wrong
trains all the same:

- Weights are unpacked to float32, which holds every value that the file can state, quantized ones too. The file is
  refused where it lacks a weight, or bends its rotary positions in a way that transformers does not read.
- How text is split before merges are applied has a name in the file. transformers knows some of them and takes GPT-2's
  way for the rest; that is right for some, wrong for others (`smollm` splits off every digit), which are mended, and
  unknown for the remainder, which are refused. What it adds to a vocabulary that the file does not have is taken out.
- A chat model may end its turn with another token than its text: the configuration for generating gets both.

The file is looked at alone: what lies beside it is no part of the student.
"""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

from orcac.errors import InputError, as_input_error

_SPLITS_AS_GPT2 = {"gpt-2", "phi-2", "mpt", "olmo", "jais"}
_SPLITS_OFF_DIGITS = {"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"}


def convert(file: Path, folder: Path) -> None:
    """Write the model that the GGUF file `file` holds to `folder`; `file` lies alone in its own.

    Raises InputError where it cannot be read as a model whose every part is known.
    """
    try:
        import gguf
    except ModuleNotFoundError:
        raise InputError("a student of a .gguf file needs the package gguf", fix="pip install 'orcac[train]'") from None
    fix = "fetch the file again, or give the model's own directory of safetensors"
    with as_input_error(f"{file.name}: cannot be read as a model", fix=fix):
        reader = gguf.GGUFReader(file)
        fields = {name: field.contents() for name, field in reader.fields.items() if len(field.data) == 1}
        _check_rotary(file, fields, {tensor.name for tensor in reader.tensors})
        tokenizer = _tokenizer(file, fields, size=len(reader.fields["tokenizer.ggml.tokens"].data))
        model = _model(file, fields)
    tokenizer.model_max_length = model.config.max_position_embeddings
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)


def _check_rotary(file: Path, fields: dict[str, Any], tensors: set[str]) -> None:
    scaled = fields.get(f"{fields['general.architecture']}.rope.scaling.type", "none") != "none"
    if scaled or any(name.startswith("rope_") for name in tensors):
        raise InputError(
            f"{file.name}: scales its rotary positions, which transformers does not read from a GGUF file",
            fix="give the model's own directory of safetensors",
        )


def _tokenizer(file: Path, fields: dict[str, Any], *, size: int) -> Any:
    """The file's tokenizer, of `size` entries. Raises InputError where it splits text in a way that is not known."""
    import tokenizers
    from tokenizers import pre_tokenizers
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    read = AutoTokenizer.from_pretrained(str(file.parent), gguf_file=file.name)
    content = json.loads(read.backend_tokenizer.to_str())
    content["added_tokens"] = [token for token in content["added_tokens"] if token["id"] < size]
    backend = tokenizers.Tokenizer.from_str(json.dumps(content))
    pre = fields.get("tokenizer.ggml.pre", "")
    if fields["tokenizer.ggml.model"] == "gpt2" and isinstance(backend.pre_tokenizer, pre_tokenizers.ByteLevel):
        if pre in _SPLITS_OFF_DIGITS:
            backend.pre_tokenizer = pre_tokenizers.Sequence(
                [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
            )
        elif pre not in _SPLITS_AS_GPT2:
            raise InputError(
                f"{file.name}: splits text in the way `{pre}`, which is not known here",
                fix="give the model's own directory, with its tokenizer.json",
            )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, chat_template=read.chat_template, **read.special_tokens_map
    )


def _model(file: Path, fields: dict[str, Any]) -> Any:
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils.quantization_config import GgufConfig

    with contextlib.redirect_stderr(io.StringIO()):  # a bar that is not the libraries' own, and is not asked whether
        model, found = AutoModelForCausalLM.from_pretrained(
            str(file.parent),
            gguf_file=file.name,
            dtype=torch.float32,
            quantization_config=GgufConfig(dequantize=True),
            local_files_only=True,
            output_loading_info=True,
        )
    if found["missing_keys"]:
        names = ", ".join(sorted(found["missing_keys"])[:3])
        raise InputError(f"{file.name}: lacks weights of its model: {names}", fix="fetch the file again")
    ends = {fields.get(f"tokenizer.ggml.{name}_token_id") for name in ("eos", "eot", "eom")} - {None}
    model.generation_config.eos_token_id = sorted(ends) or None
    return model
