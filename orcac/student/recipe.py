"""The recipe of `student`: a Hugging Face model folder under `model/` with weights, tokenizer and chat template.

A pretrained student has no inputs. One from scratch has either `texts` (filter nodes), from which its tokenizer is
trained, or `tokenizer` (a student node), whose tokenizer it shares: a replicate differs from it in the weights alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from orcac.recipe import Execution, FileRef, Frozen, HubRef, Recipe
from orcac.summary import OMIT_NONE, Summary

__all__ = ["VERSION", "Pretrained", "Scratch", "StudentExecution", "StudentRecipe", "StudentSummary"]

VERSION = 3


class Scratch(Frozen):
    """A LLaMA with random weights, and a byte-level BPE tokenizer trained on the input texts."""

    vocabulary: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    intermediate: int  # width of the MLP
    positions: int  # tokens of the longest sequence
    init_std: float = 0.02
    tie_embeddings: bool = False


class Pretrained(Frozen):
    """A Hugging Face model folder, given by the content of its files or by its place on a hub; or one .gguf file.

    No code from it is run.
    """

    files: tuple[FileRef, ...] = ()  # named by the path relative to the folder; exactly one of files and hub is set
    hub: HubRef | None = None  # a model repository; its path is the folder of the model
    keeps_template: bool = False  # if its chat template cannot be trained on, that is an error, and ours is no way out
    system_role: Literal["system", "none"] = (
        "system"  # none: the chat template puts a system message into the user's turn
    )
    date: str = "2026-01-01"  # shown by a chat template with a date
    is_trained: bool = True  # if not, its files stay as they are, so that it answers in its own chat format


class StudentRecipe(Recipe):
    seed: int
    scratch: Scratch | None = None  # exactly one of scratch and pretrained is set
    pretrained: Pretrained | None = None


class StudentExecution(Execution):
    like: str | None = None  # for estimates: the named shape of a model that is not downloaded yet
    lengths: tuple[int, ...] = ()  # tokens of the rows that it is trained on, which its positions must hold
    is_packed: bool = False  # some of these rows hold several examples that it must separate
    has_system: bool = False  # some of its conversations have a system message
    reasoning: Literal["none", "perhaps", "certain"] = "none"  # in the examples that it learns: the spec may not tell


@dataclass(frozen=True, slots=True, kw_only=True)
class StudentSummary(Summary):
    """The summary of a student."""

    kind: ClassVar[str] = "student"

    parameters: int
    vocabulary: int | None = None  # entries of the tokenizer
    hub: dict[str, str] | None = field(default=None, metadata=OMIT_NONE)  # REPO@REVISION -> its commit
    replaced: str | None = field(
        default=None, metadata=OMIT_NONE
    )  # why its chat template is ours, if it is not its own
