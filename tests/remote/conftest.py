"""Fixtures of the tests of stores elsewhere: a store with artifacts and answers, and places to push it to."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from places import set_keys
from survey import make_all

from orcac.store.store import Store


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with the three nodes and the twelve answers of SPEC, which lies beside it as `mine.yaml`."""
    folder = tmp_path_factory.mktemp("made")
    return make_all(folder)[1]


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an S3 server of this machine, with a bucket `lab`. Skip the test if its packages are missing."""
    pytest.importorskip("s3fs", reason="the extra s3 is not installed")
    server_of = pytest.importorskip("moto.server", reason="moto is not installed").ThreadedMotoServer
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = server_of(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    with pytest.MonkeyPatch.context() as patch:
        set_keys(patch, address)
        import s3fs

        s3fs.S3FileSystem(skip_instance_cache=True).mkdir("lab")
    yield address
    server.stop()


@pytest.fixture(params=["folder", "memory", "s3"])
def address(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of an empty place: in a folder, in this process's memory, or in a bucket."""
    if request.param == "folder":
        return str(tmp_path / "there")
    pytest.importorskip("fsspec")
    if request.param == "s3":
        set_keys(monkeypatch, request.getfixturevalue("s3"))
    return f"{request.param}://lab/{tmp_path.name}"
