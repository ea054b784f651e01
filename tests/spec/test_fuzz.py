"""Tests of orcac/spec by mutated specs: every file gives only orcac's own errors, each at an existing place."""

from __future__ import annotations

import functools
import json
import os
import random
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from orcac.errors import InputError, OrcacError
from orcac.plan.lower import lower
from orcac.plan.plan import Plan
from orcac.spec.load import load
from orcac.spec.problems import SpecErrors

SPECS = Path(__file__).parents[2] / "specs"
BROKEN = Path(__file__).with_name("broken")
EXAMPLES = int(os.environ.get("ORCAC_FUZZ", "60"))  # of each kind


def nested(depth: int) -> Any:
    return [{"a": nested(depth - 1)}] if depth else 0


VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 2, 0.5, 2**31, 2**63, 2**64, 10**40, -(10**40), 1e308, -0.0, 1e-320,
    "", " ", "x", "base", "1", "é", "\u202e", "\U0001f4a5" * 70, "a\nb", "a\0b", "\x1b[2J", "\ud800", "x" * 5000,
    "..", "/", "*", "[", "?", "**x", "${X", "${ORCAC_UNSET}", "hf://", "hf://a", "hf://a/b@", "hf://a/b/../c",
    "spec.yaml",
    "3 %", "-3 %", "1e9 rows", "9" * 400 + " rows", "0 rows", "9999999999 days", "0.1 GiB", "nan", ".inf",
    [], {}, [[]], [{}], {"": None}, {"a": {"b": {}}}, {"1": "x", "01": "y"}, [None], list(range(300)),
    nested(20), nested(30),
]  # fmt: skip


def places(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value in a plain tree."""
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ():
        yield (*path, key)
        yield from places(value, (*path, key))


def at(tree: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        tree = tree[step]
    return tree


def mutate(tree: Any, rng: random.Random) -> Any:
    """Change one node: remove, replace, rename, double or swap it, or make an arm or a sweep of it."""
    path = rng.choice(list(places(tree)) or [()])
    if not path:
        return rng.choice(VALUES)
    holder, key = at(tree, path[:-1]), path[-1]
    other = at(tree, rng.choice(list(places(tree))))
    change = rng.randrange(8)
    if change == 0:
        del holder[key]
    elif change == 1 and isinstance(holder, dict):
        holder[str(rng.choice([value for value in VALUES if isinstance(value, str | int)]))] = holder.pop(key)
    elif change == 2 and isinstance(holder, list):
        holder.insert(key, holder[key])
    elif change == 3:
        holder[key] = json.loads(json.dumps(other))  # a copy, so that no value contains itself
    elif change in (4, 5) and isinstance(tree, dict):
        patch: Any = rng.choice([*VALUES, other])
        for step in reversed(path):
            patch = {str(step): patch}
        if change == 4:
            tree.setdefault("ablations", {})
            if isinstance(tree["ablations"], dict):
                tree["ablations"][rng.choice(["one", "two", "a/b", "base"])] = json.loads(json.dumps(patch))
        else:
            values = rng.choices([*VALUES, other], k=rng.randrange(4))
            tree["sweep"] = {".".join(map(str, path)): json.loads(json.dumps(values))}
    else:
        holder[key] = json.loads(json.dumps(rng.choice(VALUES)))
    return tree


def garble(text: bytes, rng: random.Random) -> bytes:
    """Change the bytes once: remove, insert or move a piece, double or indent a line, or cut off the end."""
    start = rng.randrange(len(text) + 1)
    end = min(len(text), start + rng.choice([1, 1, 2, 5, 20, 100]))
    lines = text.splitlines(keepends=True) or [b""]
    line = rng.randrange(len(lines))
    signs = [*b"{}[]:,&*!|>'\"%@`#-?<\t\n \\\0\xff", *"é\x85\u2028\ufeff".encode()]
    change = rng.randrange(8)
    if change == 0:
        return text[:start] + text[end:]
    if change == 1:
        return text[:start] + bytes(rng.choices(signs, k=rng.randrange(1, 4))) + text[start:]
    if change == 2:
        return text[:start] + rng.randbytes(3) + text[end:]
    if change == 3:
        return b"".join([*lines[: line + 1], *lines[line:]])
    if change == 4:
        return b"".join([*lines[:line], b" ", *lines[line:]])
    if change == 5:
        return text[:start]
    if change == 6:
        piece = text[start:end]
        rest = text[:start] + text[end:]
        to = rng.randrange(len(rest) + 1)
        return rest[:to] + piece + rest[to:]
    return text.replace(*rng.choice([(b": ", b":"), (b"  ", b"\t"), (b"\n", b"\r\n"), (b"{", b"["), (b"1", b"1e9")]))


def check_compile(spec: Path) -> None:
    """Load and lower a spec, and check that an error message begins with a place in a file."""
    try:
        experiment = load(spec)
    except SpecErrors as errors:
        assert errors.problems
        message = str(errors)
        for problem in errors.problems:
            mark = problem.mark
            assert str(problem) in message
            where = re.match(r"(.+?):(\d+):(\d+): .", str(problem))
            assert where and where[1] == mark.path
            written = Path(mark.path).read_bytes().decode().splitlines() or [""]
            assert 1 <= mark.line <= len(written) + 1, message
            source = written[mark.line - 1] if mark.line <= len(written) else ""
            assert mark.source == source and 1 <= mark.column <= len(source) + 1, message
        assert message.encode()
        return
    except InputError as error:
        assert str(error).startswith(f"{spec}:")
        return
    try:
        lower(Plan(), experiment)
    except OrcacError as error:
        assert str(error).encode()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Copy the specs and their files to a folder in which they can be changed."""
    place = tmp_path_factory.mktemp("fuzz")
    shutil.copytree(SPECS, place / "specs")
    shutil.copytree(BROKEN, place / "broken")
    data = os.environ.pop("ORCAC_DATA", None)
    yield place
    if data is not None:
        os.environ["ORCAC_DATA"] = data


# openthoughts.yaml with a short sweep: its thousand arms take seconds
SHORT_SWEEP = "\nsweep: {datasets.traces.samples: [4, 8], filters.select.by: [verified, majority]}\n"
TEXTS = {path: path.read_text() for path in (*sorted(SPECS.glob("*.yaml")), BROKEN / "sound.yaml")}
TEXTS[SPECS / "openthoughts.yaml"] = TEXTS[SPECS / "openthoughts.yaml"].partition("\nsweep:")[0] + SHORT_SWEEP
JUDGED = (
    ("take: 10}", "take: 10, by: {judge: points}, between: [2, 9]}"),
    ("filters: {", "judges: {points: {teacher: gpt, form: scale}}\nfilters: {select: {by: judged, judge: points}, "),
    ("optimizer: carry", "optimizer: carry, order: {by: {judge: points}}"),
)
TEXTS[BROKEN / "judged.yaml"] = functools.reduce(
    lambda text, change: text.replace(*change, 1), JUDGED, TEXTS[BROKEN / "sound.yaml"]
)
PLAIN = {path: json.dumps(YAML(typ="safe", pure=True).load(text)) for path, text in TEXTS.items()}
fuzzed = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)


@fuzzed
@given(which=st.sampled_from([*TEXTS]), seed=st.integers(0, 2**32), many=st.integers(1, 4), escaped=st.booleans())
def test_mutated_trees(folder: Path, which: Path, seed: int, many: int, escaped: bool) -> None:
    rng = random.Random(seed)
    tree = json.loads(PLAIN[which])
    for _ in range(many):
        tree = mutate(tree, rng)
    spec = folder / which.parent.name / "spec.yaml"
    spec.write_bytes(json.dumps(tree, indent=1, ensure_ascii=escaped).encode(errors="surrogatepass"))
    check_compile(spec)


@fuzzed
@given(which=st.sampled_from([*TEXTS]), seed=st.integers(0, 2**32), many=st.integers(1, 4))
def test_garbled_texts(folder: Path, which: Path, seed: int, many: int) -> None:
    rng = random.Random(seed)
    text = TEXTS[which].encode()
    for _ in range(many):
        text = garble(text, rng)
    spec = folder / which.parent.name / "spec.yaml"
    spec.write_bytes(text)
    check_compile(spec)
