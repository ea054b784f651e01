"""Tests of orcac/spec/special.py, orcac/chat/endpoints/arguments.py and their users.

They hold what a stranger's spec may not name or switch on.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orcac.errors import InputError
from orcac.spec.load import load
from orcac.spec.paths import Finder
from orcac.spec.problems import Mark, SpecErrors

SPEC = """\
orcac: 1
name: strange
queries: {q: {format: puzzles, task: navigate, size: [2, 4], take: 4}}
teachers: {t: {model: MODEL, endpoint: {kind: vllm, arguments: [ARGUMENTS]}}}
datasets: {d: {teacher: t, queries: [q]}}
"""


def mark(folder: Path) -> Mark:
    return Mark(path="spec.yaml", folder=folder, line=1, column=1, length=1, source="")


@pytest.mark.parametrize("name", ["/proc/self/environ", "/dev/zero", "pipe.yaml", "link.yaml"])
def test_a_spec_extends_no_device_pipe_or_file_of_the_system(tmp_path: Path, name: str) -> None:
    """Error messages show the lines of a file, and /dev/zero and a pipe have no end."""
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "link.yaml").symlink_to("/proc/self/environ")
    (tmp_path / "spec.yaml").write_text(f"orcac: 1\nname: a\nextends: {name}\n")
    with pytest.raises(SpecErrors, match=r"spec\.yaml:3:10: .* a device, a pipe or a file of the system"):
        load(tmp_path / "spec.yaml")


@pytest.mark.parametrize("name", ["/proc/self/environ", "/dev/zero", "pipe.jsonl", "*.jsonl"])
def test_data_are_not_read_from_one_either(tmp_path: Path, name: str) -> None:
    """They are sent to a teacher."""
    os.mkfifo(tmp_path / "pipe.jsonl")
    with pytest.raises(InputError, match="a device, a pipe or a file of the system"):
        Finder().find_files([(name, mark(tmp_path))])


def test_a_link_in_a_model_folder_is_not_copied_by_content(tmp_path: Path) -> None:
    (tmp_path / "id_rsa").write_text("secret")
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / "tokenizer.json").symlink_to(tmp_path / "id_rsa")
    with pytest.raises(InputError, match=r"tokenizer\.json is a link to .*id_rsa, outside"):
        Finder().find_model("model", mark(tmp_path))
    (model / "tokenizer.json").unlink()
    (model / "tokenizer.json").symlink_to("config.json")
    assert len(Finder().find_model("model", mark(tmp_path)).files) == 2


def test_the_links_of_a_hubs_cache_are_followed(tmp_path: Path) -> None:
    snapshot = tmp_path / "models--o--n" / "snapshots" / "0123"
    blobs = snapshot.parent.parent / "blobs"
    for folder in (snapshot, blobs):
        folder.mkdir(parents=True)
    (blobs / "abc").write_text("{}")
    (snapshot / "config.json").symlink_to("../../blobs/abc")
    assert len(Finder().find_model(str(snapshot), mark(tmp_path)).files) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        "--trust-remote-code",
        "--trust_remote_code",
        "--host, 0.0.0.0",
        "--api-key=x",
        "--tool-parser-plugin=x.py",
        "--config, evil.yaml",
        "--max-model, '9'",
        "--enforce-eager, a, b",
        "evil/model",
    ],
)
def test_an_argument_that_may_switch_on_code_needs_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: str
) -> None:
    monkeypatch.delenv("ORCAC_VLLM_ARGUMENTS", raising=False)
    spec = tmp_path / "spec.yaml"
    spec.write_text(SPEC.replace("ARGUMENTS", arguments).replace("MODEL", "m"))
    with pytest.raises(SpecErrors, match=r"spec\.yaml:4:\d+: .*vLLM"):
        load(spec)


def test_the_user_may_allow_arguments_and_harmless_ones_need_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(SPEC.replace("ARGUMENTS", "--max-model-len, '-1', --seed=3, --enforce-eager").replace("MODEL", "m"))
    load(spec)
    spec.write_text(SPEC.replace("ARGUMENTS", "--trust_remote_code").replace("MODEL", "m"))
    monkeypatch.setenv("ORCAC_VLLM_ARGUMENTS", "--trust-remote-code --host")
    load(spec)


def test_a_model_is_no_argument(tmp_path: Path) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(SPEC.replace("ARGUMENTS", "").replace("MODEL", "--trust-remote-code"))
    with pytest.raises(SpecErrors, match=r"spec\.yaml:4:\d+: .*read as an argument"):
        load(spec)


@pytest.mark.parametrize("size", ["layers: 10_000_000", "hidden: 1_000_000_000", "intermediate: 1_000_000_000"])
def test_a_shape_that_no_machine_holds_is_refused_before_it_is_built(tmp_path: Path, size: str) -> None:
    shape = {"hidden": 32, "layers": 2, "heads": 2, "intermediate": 64} | dict([size.split(": ")])
    spec = tmp_path / "spec.yaml"
    spec.write_text(
        "orcac: 1\nname: big\nstudent:\n"
        f"  shape: {{{', '.join(f'{name}: {value}' for name, value in shape.items())}}}\n"
        "  tokenizer: {vocabulary: 300, train_on: [d]}\n  max_length: 256\n"
    )
    with pytest.raises(SpecErrors, match=rf"spec\.yaml:4:\d+: `{size.split(':')[0]}` must be at most"):
        load(spec)
