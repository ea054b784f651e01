"""Words of other tools for keys and values of the language, and the keys of neighbouring maps: what was meant."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

__all__ = ["suggest"]

# the word of another tool -> ours, the first that is known at the place
_KEYS = {
    "lr": ("learning_rate",),
    "model": ("base",),
    "model_name": ("model", "base"),
    "model_path": ("base", "path"),
    "pretrained": ("base",),
    "batch_size": ("batch", "micro_batch"),
    "num_epochs": ("epochs",),
    "num_train_epochs": ("epochs",),
    "steps": ("epochs",),
    "max_steps": ("epochs",),
    "seq_len": ("max_length",),
    "max_seq_length": ("max_length",),
    "context": ("max_length",),
    "context_length": ("max_length",),
    "lora": ("adapter",),
    "peft": ("adapter",),
    "r": ("rank",),
    "lora_alpha": ("alpha",),
    "lora_dropout": ("dropout",),
    "target_modules": ("targets",),
    "load_best_model_at_end": ("keep",),
    "early_stopping": ("keep",),
    "url": ("base_url", "path"),
    "api_base": ("base_url",),
    "host": ("base_url",),
    "endpoint": ("base_url",),
    "rpm": ("requests_per_minute",),
    "tpm": ("tokens_per_minute",),
    "max_concurrency": ("concurrency",),
    "workers": ("concurrency", "shards"),
    "retries": ("attempts",),
    "file": ("path",),
    "files": ("path",),
    "data": ("path", "dataset"),
    "limit": ("take",),
    "count": ("take",),
    "n": ("take", "samples"),
    "prompt": ("query", "question"),
    "question": ("query",),
    "input": ("query",),
    "instruction": ("query",),
    "answer": ("reference",),
    "target": ("reference",),
    "label": ("reference",),
    "gold": ("reference",),
    "output": ("answer", "reference"),
    "response": ("answer", "reference"),
    "completion": ("answer", "reference"),
    "choices": ("options",),
    "system_prompt": ("system", "system_messages"),
    "prompts": ("queries",),
    "questions": ("queries",),
    "models": ("teachers",),
    "arms": ("ablations",),
    "description": ("about",),
    "grid": ("sweep",),
    "matrix": ("sweep",),
}
_SERVERS = (
    "ollama lmstudio lm-studio llama.cpp llamacpp sglang tgi litellm http api server openai-compatible openrouter"
)
_PROVIDERS = "together groq deepseek mistral azure gemini"
_VALUES = {
    **dict.fromkeys(f"{_SERVERS} {_PROVIDERS}".split(), ("openai", "`openai` with the server's `base_url`")),
    **dict.fromkeys(("transformers", "huggingface", "hf", "model"), ("local", "`local` with the model's `path`")),
    **dict.fromkeys(("recorded", "file", "recording"), ("replay", "`replay` with the file's `path`")),
    **dict.fromkeys(("ndjson", "json-lines", "jsonlines"), ("jsonl", "`jsonl`")),
    **dict.fromkeys(("excel", "xlsx", "xls"), ("csv", "`csv`, and save the sheet so")),
}


def suggest(given: str, known: Sequence[str], *, is_value: bool = False) -> str:
    """Return a question with the known word that is meant by `given`, or else all known words.

    is_value: whether the words are values of a key, not keys
    """
    word = given.lower()
    by_case = {name.lower(): name for name in known}
    if word in by_case:
        return f"did you mean `{by_case[word]}`?"
    if is_value:
        ours, text = _VALUES.get(word, ("", ""))
        if ours in known:
            return f"write {text}"
    elif ours := next((name for name in _KEYS.get(word.replace("-", "_"), ()) if name in known), ""):
        return f"did you mean `{ours}`?"
    near = difflib.get_close_matches(given, known, n=1) or difflib.get_close_matches(word, by_case, n=1)
    return f"did you mean `{by_case[near[0].lower()]}`?" if near else f"known: {', '.join(known)}"
