"""Natural Instructions: one JSON file per task, with a definition in words and many instances.

The files have two forms. In released files `Definition` is a list of one text; in early ones it is the text itself, and
instances have no id. An instance may have several right outputs; the first is the reference.

The query is the definition followed by the input, in plain words and zero-shot: several of the paper's system messages
ask the teacher to work from the task's definition, so the query must contain it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from orcac.sample.formats.item import Item
from orcac.sample.recipe import Source
from orcac.tables.content import strip_compression
from orcac.tables.text import BadRow, read_document, row_error

FIX = "use a task file of the natural-instructions repository: Definition, Instances: [{input, output}]"


def format_query(definition: str, text: str) -> str:
    """Return the query for one instance."""
    return f"Definition: {definition.strip()}\n\nInput: {text.strip()}\n\nOutput:"


def read(path: Path, name: str, source: Source) -> Iterator[Item | BadRow]:
    """Yield the items; the task is the file's stem. Raises InputError for a file of another form."""
    task = read_document(path)
    if not isinstance(task, dict) or not isinstance(task.get("Instances"), list):
        raise row_error(path, 1, "no list of Instances", fix=FIX)
    definition = task.get("Definition")
    if isinstance(definition, list):
        definition = definition[0] if definition else None
    if not isinstance(definition, str) or not definition.strip():
        raise row_error(path, "Definition", "no text", fix=FIX)
    for number, instance in enumerate(task["Instances"], start=1):
        match instance:
            case {"input": str(text), "output": [str(), *_] | str() as output} if text.strip():
                outputs = [output] if isinstance(output, str) else output
                texts = [str(one).strip() for one in outputs]
                yield Item(
                    task=Path(strip_compression(name)).stem,
                    query=format_query(definition, text),
                    reference=texts[0],
                    references=tuple(dict.fromkeys(filter(None, texts))),
                    place=number,
                )
            case _:
                yield BadRow(number, "not {input: text, output: [text, ...]}", str(instance))
