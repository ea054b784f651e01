"""A model on this machine, a student or a teacher, answering in batches (transformers' `generate`, left padding, KV
cache).

An answer depends on the prompt, the settings and the seed, and not on which prompts share its batch: batch size
is a matter of speed. So sampling does not draw from one stream for the whole batch. Each row has a stream of its
own, seeded by the prompt, and takes the token whose log-probability plus Gumbel noise is largest, which is a draw
from the distribution (Gumbel-max). What is left is rounding: padding changes the last bits of a logit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orcac.model.offline import offline
from orcac.model.weights import load_model


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalAnswer:
    text: str  # without special tokens
    finish_reason: str  # "stop" at the end mark, "length" where it was cut
    input_tokens: int
    output_tokens: int  # the end mark included


class LocalModel:
    """A model folder, loaded."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        from transformers import GenerationConfig

        from orcac.model.chat_format import ChatFormat

        self._model, self._tokenizer = model, tokenizer
        self._chat = ChatFormat(tokenizer, learns=False)
        self._pad = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        self._positions: int = model.config.max_position_embeddings
        ends = model.generation_config.eos_token_id
        self._ends = {tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])} - {None}
        model.generation_config = GenerationConfig()  # its penalties and lengths would fill what a call leaves unset

    @classmethod
    def load(cls, folder: Path, *, threads: int, gpus: int) -> LocalModel:
        """Put it on the GPU where `gpus` grants one and there is one, else on the CPU.

        Raises InputError where the folder's weights, tokenizer or chat template are of no use.
        """
        offline(threads=threads)
        import torch

        from orcac.model.chat_format import load_tokenizer

        torch.set_num_threads(threads)
        model = load_model(folder, whose="the model", dtype="auto")
        device = "cuda" if gpus and torch.cuda.is_available() else "cpu"
        return cls(model.to(device).eval(), load_tokenizer(folder))

    def batches(self, prompts: Sequence[tuple[str, str]], *, batch_size: int) -> list[list[int]]:
        """Indices of the (system, user) prompts, those of like length together, the longest first (so that what
        does not fit in memory fails at once)."""
        lengths = [len(ids) for ids in self._chat.prompts(prompts)]
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
        """The answers to (system, user) prompts, in order. Temperature 0 is greedy, and `seed` is then of no use.

        A prompt that fills the student's positions gets no answer: "" with finish reason "length".
        """
        import torch
        from transformers import GenerationConfig, LogitsProcessorList

        inputs = self._chat.prompts(prompts)
        limits = [max(0, min(max_new_tokens, self._positions - len(ids))) for ids in inputs]
        asked = [index for index, limit in enumerate(limits) if limit]
        outputs: list[list[int]] = [[] for _ in inputs]
        if asked:
            width = max(len(inputs[index]) for index in asked)
            padded = torch.full((len(asked), width), self._pad)
            mask = torch.zeros_like(padded)
            for row, index in enumerate(asked):
                padded[row, width - len(inputs[index]) :] = torch.tensor(inputs[index])
                mask[row, width - len(inputs[index]) :] = 1
            processors = LogitsProcessorList()
            if temperature:
                streams = [_stream(seed, *prompts[index]) for index in asked]
                processors.append(GumbelMax(streams, temperature=temperature, top_p=top_p))
            with torch.inference_mode():
                generated = self._model.generate(
                    input_ids=padded.to(self._model.device),
                    attention_mask=mask.to(self._model.device),
                    logits_processor=processors,
                    generation_config=GenerationConfig(
                        max_new_tokens=max(limits[index] for index in asked),
                        do_sample=False,
                        eos_token_id=sorted(self._ends),
                        pad_token_id=self._pad,
                    ),
                )
            for index, row_ids in zip(asked, generated[:, width:].tolist(), strict=True):
                outputs[index] = self._cut(row_ids[: limits[index]])
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

    def _cut(self, ids: list[int]) -> list[int]:
        """`ids` up to the first end mark, that mark included."""
        for place, token in enumerate(ids):
            if token in self._ends:
                return ids[: place + 1]
        return ids


class GumbelMax:
    """A logits processor under which greedy decoding samples, each row from a stream of its own."""

    def __init__(self, streams: Sequence[Any], *, temperature: float, top_p: float) -> None:
        self._streams, self._temperature, self._top_p = streams, temperature, top_p

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """`scores`: float (rows, vocabulary)."""
        import torch

        logits = scores.float() / self._temperature
        if self._top_p < 1:
            ranked, order = logits.sort(descending=True)
            shares = ranked.softmax(-1)
            outside = shares.cumsum(-1) - shares >= self._top_p  # the likeliest token is always inside
            logits = logits.masked_fill(outside.scatter(-1, order, outside), float("-inf"))
        uniform = torch.stack([torch.rand(logits.shape[-1], generator=stream) for stream in self._streams])
        return logits - (-uniform.clamp_min(1e-30).log()).log().to(logits.device)


def _stream(seed: int, system: str, user: str) -> Any:
    """A random stream for one prompt."""
    import torch

    digest = hashlib.sha256("\x1f".join((str(seed), system, user)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
