"""Two descriptions of the language, made from its schema: a JSON Schema for editors and `docs/spec.md` for readers.

The JSON Schema has three rules that pydantic's own lacks. A number may be grouped (`2_500_000`), which is a text in
YAML 1.2. An arm is a patch: any part of a spec, nothing required, null removes. A spec that `extends` another spec is
a patch as well.
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterator

from pydantic import BaseModel, JsonValue
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from orcac import fields
from orcac.recipe import Frozen
from orcac.spec import schema, units
from orcac.spec.schema import Spec

Json = dict[str, JsonValue]
_LIMITS = ("type", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")


def build_json_schema() -> Json:
    """Return the JSON Schema of a spec. Every property has its `class`, and its `unit` if it has one."""
    spec = Spec.model_json_schema(by_alias=True)
    generated = spec.pop("$defs") | {"Spec": spec}
    patches = {f"{name}Patch": _patch(_for_editors(part)) for name, part in generated.items()}
    arms = spec["properties"]["ablations"]["patternProperties"]
    for names in arms:  # after `patches` is made, because the arms inside a patch are not checked
        arms[names] = {"$ref": "#/$defs/SpecPatch"}
    parts = {name: _for_editors(part) for name, part in generated.items()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "orcac spec",
        "if": {"required": ["extends"]},
        "then": {"$ref": "#/$defs/SpecPatch"},
        "else": {"$ref": "#/$defs/Spec"},
        "$defs": parts | patches,
    }


def _for_editors(node: JsonValue) -> JsonValue:
    """Return a JSON Schema that allows grouped numbers, and in a map of names no other keys."""
    if isinstance(node, list):
        return [_for_editors(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = {key: _for_editors(value) for key, value in node.items()}
    if node.get("type") in ("integer", "number"):
        limits: JsonValue = {key: node.pop(key) for key in _LIMITS if key in node}
        node["anyOf"] = [limits, {"type": "string", "pattern": r"^-?[0-9]+(_[0-9]+)+(\.[0-9]+)?$"}]
    if "patternProperties" in node:
        node["additionalProperties"] = False
    return node


def _patch(node: JsonValue) -> JsonValue:
    """Return the schema of a JSON Merge Patch on a value of the schema `node`."""
    if isinstance(node, list):
        return [_patch(item) for item in node]
    if not isinstance(node, dict):
        return node
    patch: Json = {}
    for key, value in node.items():
        if key == "$ref":
            patch[key] = f"{value}Patch"
        elif key in ("properties", "patternProperties") and isinstance(value, dict):
            patch[key] = {
                name: {"anyOf": [_patch(item), {"type": "null"}], **_keep_words(item)} for name, item in value.items()
            }
        elif key in ("oneOf", "anyOf"):
            patch["anyOf"] = _patch(value)  # a patch may lack the `format` or `kind` that selects one of several parts
        elif key not in ("required", "discriminator", "default"):
            patch[key] = value
    return patch


def _keep_words(node: JsonValue) -> Json:
    """Return the description, class and unit of a property."""
    properties = node if isinstance(node, dict) else {}
    return {key: properties[key] for key in ("description", "class", "unit") if key in properties}


# --- for readers ----------------------------------------------------------------------------------------------------

_INTRODUCTION = """\
# The language

```yaml title="smallest.yaml"
orcac: 1
name: smallest
queries: {{puzzles: {{format: puzzles, task: boolean_expressions, size: [3, 5], take: 20}}}}
teachers: {{expert: {{model: expert, endpoint: {{kind: solver}}}}}}
datasets: {{explained: {{teacher: expert, queries: [puzzles]}}}}
```

```console
$ orcac compile smallest.yaml
...
```

Every key of a spec, with its meaning, its allowed values, its default and its class.

- **semantic**: changes the result. It enters the ids of the nodes that depend on it, and of all nodes made from these.
- **execution**: changes where, how fast or at what cost a node is made. It never enters an id.
- **label**: names and descriptions. It never enters an id.

{precedence}

A path is relative to the folder of the file that contains it. `${{NAME}}` in a path is an environment variable. A path
`hf://OWNER/NAME[@REVISION][/PATH]` is on a hub: it enters ids by this reference, and it is read when the node that
needs it is made. Counts may be grouped (`2_500_000`); `160 rows`, `3 %`, `8 GiB`, `2 hours` and `60_000 USD` have a
unit.

An arm in `ablations` is a JSON Merge Patch (RFC 7396): maps merge, `null` removes, anything else replaces. `sweep`
repeats every arm at each combination of its values, under the name `ARM.KEY-VALUE`.

An editor with a YAML language server completes and checks a spec whose first line is
`# yaml-language-server: $schema=orcac.schema.json`, where that file is the output of `orcac schema`.

This page is generated from the schema: `orcac schema --markdown > docs/spec.md`.
"""


def render_markdown() -> str:
    """Return the text of `docs/spec.md`: one table for each part of the language, from the whole file inwards."""
    precedence = (schema.__doc__ or "").split("Precedence, ")[1].split("Where the paper")[0].strip()
    steps = [" ".join(line.split()) for line in precedence.splitlines()]
    text = "Precedence, " + "\n".join(["lowest first:", "", *steps[1:-1], "", steps[-1]])
    pages = [_INTRODUCTION.format(precedence=text)]
    for part, where in _parts():
        about = _about(part)
        pages.append("\n\n".join(filter(None, [f"## {_title(part)}", f"{where}. {about}".strip(), _table(part)])))
    return "\n".join(pages)


def _parts() -> Iterator[tuple[type[Frozen], str]]:
    """Yield each part once, with its places in a spec; its own parts follow it."""
    places_of: dict[type[Frozen], list[str]] = {Spec: ["The whole file"]}
    queue: list[tuple[type[Frozen], str]] = [(Spec, "")]
    while queue:
        part, path = queue.pop(0)
        for name, info in part.model_fields.items():
            step = f"{path}{info.alias or name}"
            is_map = typing.get_origin(_plain(info.annotation)) is dict
            for inner in _models(info.annotation):
                if inner not in places_of:
                    places_of[inner] = []
                    queue.append((inner, f"{step}.NAME." if is_map else f"{step}."))
                places_of[inner].append(f"`{step}.NAME`" if is_map else f"`{step}`")
    for part, places in places_of.items():
        yield part, ", ".join(dict.fromkeys(places))


def _table(part: type[Frozen]) -> str:
    """Return the Markdown table of a part's fields."""
    lines = ["| key | value | default | class | meaning |", "|---|---|---|---|---|"]
    for name, info in part.model_fields.items():
        extra = info.json_schema_extra
        assert isinstance(extra, dict)
        kind = _kind(info.annotation)
        unit = f", in {extra['unit']}" if extra.get("unit") else ""
        meaning = str(info.description).replace("|", "\\|")
        lines.append(f"| `{info.alias or name}` | {kind}{unit} | {_default(info)} | {extra['class']} | {meaning} |")
    return "\n".join(lines) + "\n"


def _name(part: type[Frozen]) -> str:
    """Return the name of a part in words, in lower case except for names of products."""
    words = re.findall("OpenAI|VLLM|[A-Z][a-z]*", part.__name__)
    return " ".join(_PRODUCTS.get(word, word.lower()) for word in words)


def _title(part: type[Frozen]) -> str:
    """Return the heading of a part; it ends with the `format` or `kind` values that select the part."""
    form = part.model_fields.get("format") or part.model_fields.get("kind")
    values = typing.get_args(form.annotation) if form else ()
    name = _name(part)
    title = name if name.startswith(tuple(_PRODUCTS.values())) else name.capitalize()
    return f"{title}: {', '.join(map(str, values))}" if values else title


def _about(part: type[Frozen]) -> str:
    """Return the first line of a part's docstring, or nothing if it has none."""
    return (part.__doc__ or "").strip().partition("\n")[0]


def _default(info: FieldInfo) -> str:
    """Return a field's default as the table shows it."""
    if info.default_factory:
        value = info.get_default(call_default_factory=True, validated_data={})
        return f"`{value}`" if value else "empty"
    if info.default is PydanticUndefined:
        return "required"
    if info.default is None:
        return "absent"
    if isinstance(info.default, BaseModel):
        return "its own"
    if info.default in ((), {}, ""):
        return "empty"
    if isinstance(info.default, tuple):
        return ", ".join(f"`{item}`" for item in info.default)
    return f"`{str(info.default).lower() if isinstance(info.default, bool) else info.default}`"


def _kind(kind: object) -> str:
    """Return a type in words."""
    for name, meant in _TYPE_NAMES.items():
        if kind is meant or kind == meant:
            return name
    kind = _plain(kind)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind in _SCALARS:
        return _SCALARS[kind]
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
        return f"[{_name(kind)}](#{_anchor(kind)})"
    return "anything"


def _anchor(part: type[Frozen]) -> str:
    """Return the link target that Markdown renderers derive from a part's heading."""
    kept = "".join(letter for letter in _title(part).lower() if letter.isalnum() or letter in " -_")
    return kept.replace(" ", "-")


def _plain(kind: object) -> object:
    """Return a type without its annotations."""
    return _plain(typing.get_args(kind)[0]) if typing.get_origin(kind) is typing.Annotated else kind


def _models(kind: object) -> Iterator[type[Frozen]]:
    if isinstance(kind, type) and issubclass(kind, Frozen):
        yield kind
    else:
        for argument in typing.get_args(kind):
            yield from _models(argument)


_PRODUCTS = {"OpenAI": "OpenAI", "VLLM": "vLLM", "Azure": "Azure"}
_SCALARS: dict[object, str] = {int: "whole number", float: "number", str: "text", bool: "true or false"}
_TYPE_NAMES = {
    "count": fields.Count,
    "number, text, true or false, list or map": fields.Parameter,
    "rows, as in `160 rows`": units.Rows,
    "rows or tokens, as in `160 rows`": units.BatchSize,
    "share, as in `3 %`": fields.Share,
    "amount, as in `60_000 USD`": units.Dollars,
    "size, as in `8 GiB`": units.Megabytes,
    "duration, as in `2 hours`": units.Minutes,
    "name": units.Name,
    "path or list of paths": units.Paths,
}
