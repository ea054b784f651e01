"""The parser's errors in the words of their correction."""

from __future__ import annotations

import re
from pathlib import Path

from ruamel.yaml.error import MarkedYAMLError

__all__ = ["NO_COLON", "explain_kind", "explain_syntax"]

NO_COLON = "could not find expected ':'"  # its place is the line after the mistake


def explain_kind(path: Path) -> str:
    """Return the advice for a file whose name is not that of a spec, as the end of a sentence."""
    if path.suffix.lower() in (".yaml", ".yml", ".json", ""):
        return ""
    return f"; a spec is a YAML file, and the name of this one ends in {path.suffix}"


def explain_syntax(error: MarkedYAMLError, lines: list[str], column: int) -> str:
    """Return the mistake and its correction for the most frequent syntax errors, and the parser's words for others.

    lines, column: the line of the error with the one above it, and the place in it, from 0
    """
    source = lines[-1] if lines else ""
    if any("\N{NO-BREAK SPACE}" in line for line in lines):
        return "this line or the one above it has a no-break space, which looks like a space; type a plain one"
    if source[max(0, column - 1) : column + 1] == "${":
        return 'a text with `{` needs quotes, as in "${NAME}"'
    problem, start = str(error.problem), f"line {error.context_mark.line + 1}" if error.context_mark else "above"
    at_line = f"line {error.problem_mark.line + 1}" if error.problem_mark else ""
    if "\\t" in problem:
        return "a tab is used for indentation; indent with spaces"
    if match := re.match(r"expected ',' or '(.)'", problem):
        if source[column : column + 1] == ":" and at_line == start:
            return "a text that contains `: ` needs quotes"
        more = "" if not at_line or at_line == start else ", or a quote is not closed"
        return f"`,` or `{match[1]}` is missing before this, for the bracket that opens on {start}{more}"
    if "end of stream" in problem and "quoted" in str(error.context):
        return f"the quote that opens on {start} is not closed"
    if "expected the node content" in problem:
        return "a value is missing before this"
    if "mapping values are not allowed" in problem:
        return "a `:` is not allowed here; indent as the lines around it, or put a text that contains `: ` in quotes"
    if "expected <block end>" in problem:
        return f"this line does not belong to the block that begins on {start}; give it the block's indentation"
    if match := re.match(r"found undefined alias '(.*)'", problem):
        return f"the alias `*{match[1]}` has no anchor `&{match[1]}` above it"
    if "expected '<document start>'" in problem:
        return "a second value begins here; a spec is one map of keys to values"
    if "another document" in problem:
        return "a second document begins here; remove the `---`"
    if NO_COLON in problem:
        return "this key has no `:` with a space after it"
    return problem
