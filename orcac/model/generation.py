"""A model on this machine, a student or a teacher, that answers in batches (transformers' `generate`, left padding, KV
cache).

An answer depends on the prompt, the settings and the seed, and not on the other prompts of its batch: batch size
affects only speed. So sampling does not draw from one random stream for the whole batch. Each row has a stream of its
own, seeded by the prompt, and takes the token whose log-probability plus Gumbel noise is largest, which is a draw from
the distribution (Gumbel-max). The remaining difference is rounding: padding changes the last bits of a logit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orcac.model.offline import go_offline
from orcac.model.weights import load_model

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalAnswer:
    """An answer of a local model."""

    text: str  # without special tokens
    finish_reason: str  # "stop" at an end token, "length" if it was cut
    input_tokens: int
    output_tokens: int  # including the end token


class LocalModel:
    """A loaded model folder."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        from transformers import GenerationConfig

        from orcac.model.chat_format import ChatFormat

        self._model, self._tokenizer = model, tokenizer
        self._chat = ChatFormat(tokenizer, for_training=False)
        self._pad = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        self._positions: int = model.config.max_position_embeddings
        ends = model.generation_config.eos_token_id
        self._ends = {tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])} - {None}
        model.generation_config = GenerationConfig()  # the folder's penalties and lengths would fill unset options

    @classmethod
    def load(cls, folder: Path, *, threads: int, gpus: int) -> LocalModel:
        """Load a folder, onto the GPU if `gpus` grants one and the machine has one, otherwise onto the CPU.

        Raises InputError if the folder's weights, tokenizer or chat template cannot be used.
        """
        go_offline(threads=threads)
        import torch

        from orcac.model.chat_format import load_tokenizer

        torch.set_num_threads(threads)
        model = load_model(folder, subject="the model", dtype="auto")
        device = "cuda" if gpus and torch.cuda.is_available() else "cpu"
        return cls(model.to(device).eval(), load_tokenizer(folder))

    def plan_batches(self, prompts: Sequence[tuple[str, str]], *, batch_size: int) -> list[list[int]]:
        """Return batches of indices of the (system, user) prompts, by falling length: like lengths share a batch, and
        the batch that needs the most memory comes first."""
        lengths = [len(ids) for ids in self._chat.encode_prompts(prompts)]
        order = sorted(range(len(prompts)), key=lambda index: (-lengths[index], index))
        return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]

    def answer_batch(
        self,
        prompts: Sequence[tuple[str, str]],
        *,
        temperature: float,
        top_p: float,
        max_new_tokens: int,
        seed: int,
    ) -> list[LocalAnswer]:
        """Return the answers to (system, user) prompts, in order. Temperature 0 is greedy and ignores `seed`.

        A prompt that fills the model's positions gets an empty answer with finish reason "length".
        """
        import torch
        from transformers import GenerationConfig, LogitsProcessorList

        inputs = self._chat.encode_prompts(prompts)
        limits = [max(0, min(max_new_tokens, self._positions - len(ids))) for ids in inputs]
        answerable = [index for index, limit in enumerate(limits) if limit]
        outputs: list[list[int]] = [[] for _ in inputs]
        if answerable:
            width = max(len(inputs[index]) for index in answerable)
            padded = torch.full((len(answerable), width), self._pad)
            mask = torch.zeros_like(padded)
            for row, index in enumerate(answerable):
                padded[row, width - len(inputs[index]) :] = torch.tensor(inputs[index])
                mask[row, width - len(inputs[index]) :] = 1
            processors = LogitsProcessorList()
            if temperature:
                streams = [make_stream(seed, *prompts[index]) for index in answerable]
                processors.append(GumbelMax(streams, temperature=temperature, top_p=top_p))
            with torch.inference_mode():
                generated = self._model.generate(
                    input_ids=padded.to(self._model.device),
                    attention_mask=mask.to(self._model.device),
                    logits_processor=processors,
                    generation_config=GenerationConfig(
                        max_new_tokens=max(limits[index] for index in answerable),
                        do_sample=False,
                        eos_token_id=sorted(self._ends),
                        pad_token_id=self._pad,
                    ),
                )
            for index, row_ids in zip(answerable, generated[:, width:].tolist(), strict=True):
                outputs[index] = self._cut_at_end(row_ids[: limits[index]])
        texts = self._tokenizer.batch_decode(outputs, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return [
            LocalAnswer(
                text=text,
                finish_reason="stop" if output and output[-1] in self._ends else "length",
                input_tokens=len(ids),
                output_tokens=len(output),
            )
            for text, ids, output in zip(texts, inputs, outputs, strict=True)
        ]

    def _cut_at_end(self, ids: list[int]) -> list[int]:
        """Return `ids` up to and including the first end token."""
        for index, token in enumerate(ids):
            if token in self._ends:
                return ids[: index + 1]
        return ids


class GumbelMax:
    """A logits processor that makes greedy decoding sample, each row from a random stream of its own."""

    def __init__(self, streams: Sequence[torch.Generator], *, temperature: float, top_p: float) -> None:
        self._streams, self._temperature, self._top_p = streams, temperature, top_p

    def __call__(self, input_ids: torch.Tensor | None, scores: torch.Tensor) -> torch.Tensor:
        """Return `scores`, float (rows, vocabulary), with noise added, and -inf outside the nucleus of `top_p`."""
        import torch

        logits = scores.float() / self._temperature
        if self._top_p < 1:
            ranked, order = logits.sort(descending=True)
            shares = ranked.softmax(-1)
            outside = shares.cumsum(-1) - shares >= self._top_p  # the likeliest token is always inside
            logits = logits.masked_fill(outside.scatter(-1, order, outside), float("-inf"))
        uniform = torch.stack([torch.rand(logits.shape[-1], generator=stream) for stream in self._streams])
        return logits - (-uniform.clamp_min(1e-30).log()).log().to(logits.device)


def make_stream(seed: int, system: str, user: str) -> torch.Generator:
    """Return the random stream of one prompt."""
    import torch

    digest = hashlib.sha256("\x1f".join((str(seed), system, user)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
