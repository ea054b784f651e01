"""The sound spec in broken/ and the cases that break it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

BROKEN = Path(__file__).with_name("broken")
CASES = YAML(typ="safe", pure=True).load(BROKEN / "cases.yaml")


def lay_out(case: dict[str, Any], folder: Path) -> Path:
    """Write a case's files into a folder. Returns the path of the spec to load."""
    shutil.copytree(BROKEN, folder, dirs_exist_ok=True)
    text = (BROKEN / "sound.yaml").read_text()
    for old, new in case.get("edit", {}).items():
        assert old in text
        text = text.replace(old, new, 1)
    sections = text.split("\n\n")
    dropped = [f"{name}:" for name in case.get("drop", ())]
    for section in [section for section in sections if section.startswith(tuple(dropped))]:
        lines = section.split("\n")
        ends = [
            at for at, line in enumerate(lines) if at and not line.startswith(" ") and line.split(" ")[0] not in dropped
        ]
        sections[sections.index(section)] = "\n".join(lines[ends[0] :] if ends else [])
    (folder / "sound.yaml").write_text("\n\n".join(sections))
    for name, content in case.get("files", {}).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content)
    return folder / case.get("load", "sound.yaml")
