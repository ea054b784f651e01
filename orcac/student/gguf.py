"""A student from a GGUF file, the format of llama.cpp: converted to an ordinary Hugging Face model folder.

transformers reads the file but ignores some of its contents silently. Those are checked here, since a student that is
slightly wrong trains all the same:

- Weights are unpacked to float32, which represents every value of the file exactly, quantized ones included. The file
  is refused if it lacks a weight, or scales its rotary positions, which transformers does not read.
- The file names its way to split text before merges are applied. transformers implements some of them and uses GPT-2's
  for the rest. That is right for some; it is wrong for others (`smollm` splits off every digit), which are corrected
  here; the remaining ones are unknown and refused. Tokens that transformers adds to the file's vocabulary are removed.
- A chat model may end its turn with another token than its text: both end generation.

Only the file itself is read: files beside it are not part of the student.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from orcac.errors import InputError, as_input_error
from orcac.extras import explain_missing_package
from orcac.model.positions import count_positions
from orcac.progress import print_line

if TYPE_CHECKING:
    from gguf import GGUFReader
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

Fields = dict[str, object]  # the file's metadata: numbers and texts by name

_SPLITS_AS_GPT2 = {"gpt-2", "phi-2", "mpt", "olmo", "jais"}
_SPLITS_OFF_DIGITS = {"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"}


def convert(file: Path, folder: Path) -> None:
    """Write the model of the GGUF file `file`, which must be alone in its folder, to the model folder `folder`.

    Raises InputError if a part of the file cannot be read or is unknown.
    """
    with explain_missing_package("a student of a .gguf file"):
        import gguf
    fix = "fetch the file again, or give the model's own directory of safetensors"
    with as_input_error(f"{file.name}: cannot be read as a model", fix=fix):
        reader = gguf.GGUFReader(file)
        fields: Fields = {name: field.contents() for name, field in reader.fields.items() if len(field.data) == 1}
        _check_rotary(file, fields, {tensor.name for tensor in reader.tensors})
        with _parsed_once(reader):
            print_line(f"{file.name}: reading the tokenizer")
            tokenizer = _read_tokenizer(file, fields, size=len(reader.fields["tokenizer.ggml.tokens"].data))
            print_line(f"{file.name}: unpacking the weights")
            model = _read_model(file, fields)
    if positions := count_positions(model.config):
        tokenizer.model_max_length = positions
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)


@contextlib.contextmanager
def _parsed_once(reader: GGUFReader) -> Iterator[None]:
    """Let transformers use `reader`, and one table of tensor names, inside the block.

    It would parse the file three more times, with an array for each token and merge, and build the table once for each
    module of the model: half of the time of a small model's conversion.
    """
    import gguf

    before = gguf.GGUFReader, gguf.get_tensor_name_map
    gguf.GGUFReader = lambda path: reader
    gguf.get_tensor_name_map = functools.cache(gguf.get_tensor_name_map)
    try:
        yield
    finally:
        gguf.GGUFReader, gguf.get_tensor_name_map = before


def _check_rotary(file: Path, fields: Fields, tensors: set[str]) -> None:
    """Raise InputError if the file scales its rotary positions."""
    scaled = fields.get(f"{fields['general.architecture']}.rope.scaling.type", "none") != "none"
    if scaled or any(name.startswith("rope_") for name in tensors):
        raise InputError(
            f"{file.name}: scales its rotary positions, which transformers does not read from a GGUF file",
            fix="give the model's own directory of safetensors",
        )


def _read_tokenizer(file: Path, fields: Fields, *, size: int) -> PreTrainedTokenizerFast:
    """Return the file's tokenizer, of `size` entries. Raises InputError if its way to split text is unknown."""
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
                f"{file.name}: splits text in the way `{pre}`, which is unknown",
                fix="give the model's own directory, with its tokenizer.json",
            )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, chat_template=read.chat_template, **read.special_tokens_map
    )


def _read_model(file: Path, fields: Fields) -> PreTrainedModel:
    """Return the file's model in float32. Raises InputError if it lacks weights."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils.quantization_config import GgufConfig

    with contextlib.redirect_stderr(
        io.StringIO()
    ):  # hides a progress bar that the libraries' setting does not turn off
        model, report = AutoModelForCausalLM.from_pretrained(
            str(file.parent),
            gguf_file=file.name,
            dtype=torch.float32,
            quantization_config=GgufConfig(dequantize=True),
            local_files_only=True,
            output_loading_info=True,
        )
    if report["missing_keys"]:
        names = ", ".join(sorted(report["missing_keys"])[:3])
        raise InputError(f"{file.name}: lacks weights of its model: {names}", fix="fetch the file again")
    found = [fields.get(f"tokenizer.ggml.{name}_token_id") for name in ("eos", "eot", "eom")]
    ends = {token for token in found if isinstance(token, int)}
    model.generation_config.eos_token_id = sorted(ends) or None
    return model
