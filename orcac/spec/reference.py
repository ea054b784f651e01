"""The language described from its schema, for two readers: an editor (JSON Schema) and a person (`docs/spec.md`).

An editor sees three things that pydantic's own JSON Schema does not say. A number may be grouped (`2_500_000`), which
YAML 1.2 calls a text. An arm is a patch: any part of a spec, nothing required, null to remove. A spec that `extends`
another is a patch too.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from orcac import fields
from orcac.recipe import Frozen
from orcac.spec import schema, units
from orcac.spec.schema import Spec

_LIMITS = ("type", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a spec; every property carries its `class` and, where it has one, its `unit`."""
    generated = _for_editors(Spec.model_json_schema(by_alias=True))
    parts = generated.pop("$defs") | {"Spec": generated}
    patches = {f"{name}Patch": _patch(part) for name, part in parts.items()}
    parts["Spec"]["properties"]["ablations"]["patternProperties"] = {
        pattern: {"$ref": "#/$defs/SpecPatch"}
        for pattern in parts["Spec"]["properties"]["ablations"]["patternProperties"]
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "orcac spec",
        "if": {"required": ["extends"]},
        "then": {"$ref": "#/$defs/SpecPatch"},
        "else": {"$ref": "#/$defs/Spec"},
        "$defs": parts | patches,
    }


def _for_editors(node: Any) -> Any:
    """Numbers may be grouped; a map of names has no other keys."""
    if isinstance(node, list):
        return [_for_editors(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = {key: _for_editors(value) for key, value in node.items()}
    if node.get("type") in ("integer", "number"):
        limits = {key: node.pop(key) for key in _LIMITS if key in node}
        node["anyOf"] = [limits, {"type": "string", "pattern": r"^-?[0-9]+(_[0-9]+)+(\.[0-9]+)?$"}]
    if "patternProperties" in node:
        node["additionalProperties"] = False
    return node


def _patch(node: Any) -> Any:
    """The schema of a JSON Merge Patch on what `node` is the schema of."""
    if isinstance(node, list):
        return [_patch(item) for item in node]
    if not isinstance(node, dict):
        return node
    patch: dict[str, Any] = {}
    for key, value in node.items():
        if key == "$ref":
            patch[key] = f"{value}Patch"
        elif key in ("properties", "patternProperties"):
            patch[key] = {
                name: {"anyOf": [_patch(item), {"type": "null"}]} | _words(item) for name, item in value.items()
            }
        elif key in ("oneOf", "anyOf"):
            patch["anyOf"] = _patch(value)  # without its `format` or `kind` a part may be any of several
        elif key not in ("required", "discriminator", "default"):
            patch[key] = value
    return patch


def _words(node: dict[str, Any]) -> dict[str, Any]:
    return {key: node[key] for key in ("description", "class", "unit") if key in node}


# --- for people ----------------------------------------------------------------------------------------------------

_INTRODUCTION = """\
# The language

Every key of a spec: what it means, what may stand there, what holds when it is left out, and its class.

- **semantic**: changes what is made. It enters the id of every node that can feel it, and of what is made from that.
- **execution**: changes where, how fast or for how much. It never enters an id.
- **label**: names and descriptions. Never enters an id.

{precedence}

A path is relative to the file that it is written in. `${{NAME}}` in it is the environment's. `hf://OWNER/NAME[@REVISION]
[/PATH]` lies on a hub: it is read when the node that needs it is made, and until then enters ids by these words. Counts
may be grouped (`2_500_000`); `160 rows`, `3 %`, `8 GiB`, `2 hours` and `60_000 USD` carry their unit.

An arm in `ablations` is a JSON Merge Patch (RFC 7396): maps merge, `null` removes, anything else replaces. `sweep`
makes every arm again at each combination of its values, as `ARM.KEY-VALUE`.

An editor with a YAML language server completes and checks a spec whose first line is
`# yaml-language-server: $schema=orcac.schema.json`, where that file holds what `orcac schema` prints.

This page is made from the schema: `orcac schema --markdown > docs/spec.md`.
"""


def markdown() -> str:
    """`docs/spec.md`: one table for each part of the language, in the order in which a spec meets them."""
    precedence = (schema.__doc__ or "").split("Precedence, ")[1].split("Where the paper")[0].strip()
    steps = [" ".join(line.split()) for line in precedence.splitlines()]
    text = "Precedence, " + "\n".join(["lowest first:", "", *steps[1:-1], "", steps[-1]])
    pages = [_INTRODUCTION.format(precedence=text)]
    for part, where in _parts():
        about = _about(part)
        pages.append("\n\n".join(filter(None, [f"## {_title(part)}", f"{where}. {about}".strip(), _table(part)])))
    return "\n".join(pages)


def _parts() -> Iterator[tuple[type[Frozen], str]]:
    """Each part once, with the places it may stand in; a part's own parts follow it."""
    found: dict[type[Frozen], list[str]] = {Spec: ["The whole file"]}
    queue: list[tuple[type[Frozen], str]] = [(Spec, "")]
    while queue:
        part, path = queue.pop(0)
        for name, info in part.model_fields.items():
            step = f"{path}{info.alias or name}"
            named = typing.get_origin(_plain(info.annotation)) is dict
            for inner in _models(info.annotation):
                if inner not in found:
                    found[inner] = []
                    queue.append((inner, f"{step}.NAME." if named else f"{step}."))
                found[inner].append(f"`{step}.NAME`" if named else f"`{step}`")
    for part, places in found.items():
        yield part, ", ".join(dict.fromkeys(places))


def _table(part: type[Frozen]) -> str:
    lines = ["| key | what stands there | default | class | meaning |", "|---|---|---|---|---|"]
    for name, info in part.model_fields.items():
        extra = info.json_schema_extra
        assert isinstance(extra, dict)
        kind = _kind(info.annotation, info.metadata)
        unit = f", in {extra['unit']}" if extra.get("unit") else ""
        meaning = str(info.description).replace("|", "\\|")
        lines.append(f"| `{info.alias or name}` | {kind}{unit} | {_default(info)} | {extra['class']} | {meaning} |")
    return "\n".join(lines) + "\n"


def _title(part: type[Frozen]) -> str:
    words = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in part.__name__).split()
    form = part.model_fields.get("format") or part.model_fields.get("kind")
    values = typing.get_args(form.annotation) if form else ()
    title = " ".join(words).capitalize().replace("Open a i", "OpenAI")
    return f"{title}: {', '.join(map(str, values))}" if values else title


def _about(part: type[Frozen]) -> str:
    own = (part.__doc__ or "").strip()
    return "" if own == (Frozen.__doc__ or "").strip() else own.splitlines()[0] if own else ""


def _default(info: FieldInfo) -> str:
    if info.default_factory:
        return f"`{info.get_default(call_default_factory=True, validated_data={})}`"
    if info.default is PydanticUndefined:
        return "required"
    if info.default is None:
        return "absent"
    if isinstance(info.default, BaseModel):
        return "its own"
    if info.default in ((), {}, ""):
        return "empty"
    return f"`{str(info.default).lower() if isinstance(info.default, bool) else info.default}`"


def _kind(kind: Any, metadata: typing.Sequence[Any] = ()) -> str:
    """A type in words."""
    for name, meant in _NAMED.items():
        if kind is meant or kind == meant:
            return name
    kind = _plain(kind)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind in (int, float, str, bool):
        return {int: "whole number", float: "number", str: "text", bool: "true or false"}[kind]
    if origin is typing.Literal:
        return " \\| ".join(f"`{value}`" for value in arguments)
    if origin in (typing.Union, types.UnionType):
        parts = [_kind(one) for one in arguments if one is not type(None)]
        return " or ".join(dict.fromkeys(parts))
    if origin is dict:
        return f"map of {_kind(arguments[0])} to {_kind(arguments[1])}"
    if origin is tuple:
        return f"list of {_kind(arguments[0])}" if arguments[-1] is Ellipsis else f"list of {len(arguments)} numbers"
    if isinstance(kind, type) and issubclass(kind, Frozen):
        return f"[{_title(kind).partition(':')[0].lower()}](#{_anchor(kind)})"
    return "anything"


def _anchor(part: type[Frozen]) -> str:
    kept = "".join(letter for letter in _title(part).lower() if letter.isalnum() or letter in " -_")
    return kept.replace(" ", "-")


def _plain(kind: Any) -> Any:
    return _plain(typing.get_args(kind)[0]) if typing.get_origin(kind) is typing.Annotated else kind


def _models(kind: Any) -> Iterator[type[Frozen]]:
    if isinstance(kind, type) and issubclass(kind, Frozen):
        yield kind
    else:
        for argument in typing.get_args(kind):
            yield from _models(argument)


_NAMED = {
    "count": fields.Count,
    "rows, as in `160 rows`": units.Rows,
    "rows or tokens, as in `160 rows`": units.BatchSize,
    "share, as in `3 %`": fields.Share,
    "amount, as in `60_000 USD`": units.Dollars,
    "size, as in `8 GiB`": units.Megabytes,
    "duration, as in `2 hours`": units.Minutes,
    "name": units.Name,
    "path or list of paths": units.Paths,
}
