"""Model folders and files that cannot be loaded, found by the names and first bytes of their files.

A spec is planned and priced without the weights. A student that lacks them is met before anything is asked, because
the answers of a teacher cost money and the student would be made beside them or after them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from orcac.model.config_file import read_positions
from orcac.model.gguf_header import read_header
from orcac.spec.load import Arm, Experiment
from orcac.spec.paths import FileSet
from orcac.spec.problems import Problem, SpecPath

__all__ = ["find_broken_models"]

_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model", "vocab.txt", "tokenizer_config.json")
_GGUF = b"GGUF"


def find_broken_models(experiment: Experiment) -> list[Problem]:
    """Return a problem for each local model that cannot be loaded, or that cannot read rows as long as those."""
    reasons: dict[FileSet, list[str]] = {}
    found: dict[Problem, None] = {}
    positions: dict[Path, int | None] = {}
    for arm in experiment.arms.values():
        for path, files in _list_models(arm):
            if files not in reasons:
                reasons[files] = [*_explain(files)]
            found |= dict.fromkeys(Problem(arm.tree.locate(path), message) for message in reasons[files])
        files, student = arm.files.get(("student", "base"), FileSet()), arm.spec.student
        if not (files.files and student and arm.spec.curriculum):
            continue
        root = files.root or files.files[0]
        if root not in positions:
            positions[root] = _read_positions(files)
        if (limit := positions[root]) and student.max_length > limit:
            message = (
                f"rows of {student.max_length:,} tokens, but the model reads {limit:,}; write `max_length: {limit}`"
            )
            at = ("student", "max_length") if "max_length" in student.model_fields_set else ("student",)
            found[Problem(arm.tree.locate(at), message)] = None
    return list(found)


def _read_positions(files: FileSet) -> int | None:
    """Return the number of positions that a local model states; None if it states none."""
    if files.root is not None:
        return read_positions(_read_config(files.root) or {})
    header = read_header(files.files[0])
    return header.positions if header else None


def _list_models(arm: Arm) -> Iterator[tuple[SpecPath, FileSet]]:
    for path, files in arm.files.items():
        if path == ("student", "base") or (path[0] == "teachers" and files.root is not None):
            yield path, files


def _explain(files: FileSet) -> Iterator[str]:
    """Yield the reasons for which a model cannot be loaded."""
    if files.root is None:
        for file in files.files:
            if _read_head(file) != _GGUF:
                yield f"{file}: not a GGUF file, though its name ends in .gguf; download it again"
        return
    names = {file.relative_to(files.root).as_posix() for file in files.files}
    folder = files.root.name
    if not any(name.endswith(".safetensors") for name in names):
        other = next((name for name in sorted(names) if name.endswith((".bin", ".pth", ".pt", ".gguf"))), "")
        has = f"it has {other}" if other else "it has no weights"
        fix = f"write `{folder}/{other}`" if other.endswith(".gguf") else "give the model's .safetensors files as well"
        yield f"{folder}: the folder has no .safetensors file ({has}); {fix}"
    if names.isdisjoint(_TOKENIZERS) and not any(name.endswith(".tiktoken") for name in names):
        yield f"{folder}: the folder has no tokenizer; put the model's tokenizer.json beside its config.json"
    if _read_config(files.root) is None:
        yield f"{folder}/config.json: not JSON; download it again"


def _read_config(root: Path) -> dict[str, object] | None:
    """Return the content of a model's config.json; None if it cannot be read."""
    try:
        content = json.loads((root / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _read_head(file: Path) -> bytes:
    try:
        with file.open("rb") as content:
            return content.read(len(_GGUF))
    except OSError:
        return _GGUF  # its digest is an error of its own
