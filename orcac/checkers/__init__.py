"""Checkers: the final answer in a model's prose, and whether it agrees with a reference."""

from __future__ import annotations

from orcac.checkers.version1 import Parser, final_answer, same_answer

__all__ = ["Parser", "final_answer", "same_answer"]
