"""A Hugging Face hub over real sockets, with faults on demand.

It answers the requests of the library: a revision's commit, a paged tree, HEAD and GET of a file with ranges; and for
uploads a new repository, the way to send each file, the batch and the content of large files, and a commit. Large
files are on a second host (`localhost`; the hub is `127.0.0.1`) behind a signed address, and errors have their code in
a header. Every error repeats the token that came with the request, as a careless server might.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from patience import PATIENCE_S

Fault = Literal["", "503", "429", "401", "403", "drop", "short", "swapped", "hang", "html"]
Behaviour = Callable[[str, str, int], Fault]  # (method, path, number of earlier requests) -> fault

LARGE = 10_000  # bytes; a file of this size or more is on the second host
PAGE = 3  # files per page of a tree


@dataclass
class Repo:
    files: dict[str, bytes]
    gated: bool = False
    private: bool = False
    branches: dict[str, str] = field(default_factory=dict)


class HubServer:
    """A hub that serves inside its `with` block.

    `log` holds (method, path, Range) of each request; `leaked` holds the tokens that reached the second host.
    """

    def __init__(self, token: str = "hf_right") -> None:
        self.repos: dict[str, Repo] = {}  # "datasets/OWNER/NAME" or "models/OWNER/NAME"
        self.behaviour: Behaviour = lambda method, path, before: ""
        self.token = token
        self.log: list[tuple[str, str, str]] = []
        self.leaked: list[str] = []
        self.lies: dict[str, str] = {}  # headers that replace those of every response
        self.pages_url = ""  # the address of further pages of a tree, if not the hub's
        self.asked: Counter[tuple[str, str]] = Counter()
        self.stored: dict[str, bytes] = {}  # large files that were sent, by their sha256
        self.ended = threading.Event()
        server = self

        class Handler(_Handler):
            hub = server

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self.files_url = f"http://localhost:{self._http.server_port}"

    def add(self, name: str, files: dict[str, bytes], **more: bool) -> str:
        """Make a repository, or its next commit on main, and return the commit."""
        commit = hashlib.sha1(b"".join(key.encode() + files[key] for key in sorted(files))).hexdigest()
        self.repos[name] = Repo(files=files, branches={"main": commit, "refs/convert/parquet": commit}, **more)
        return commit

    def got(self, end: str) -> list[str]:
        """Return the requested ranges of the files whose path ends so; "" is a request for the whole file."""
        return [span for method, path, span in self.log if method == "GET" and path.endswith(end)]

    def __enter__(self) -> HubServer:
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self._http.shutdown()
        self._http.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: HubServer
    fault: Fault

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def _answer(self) -> None:
        hub, address = self.hub, urlsplit(self.path)
        path = unquote(address.path)
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        hub.log.append((self.command, path, self.headers.get("Range", "")))
        self.fault = fault = hub.behaviour(self.command, path, hub.asked[self.command, path])
        hub.asked[self.command, path] += 1
        if fault in ("503", "429"):
            return self._error(int(fault), "")
        if fault == "401":
            return self._error(401, "", "Invalid credentials in Authorization header")
        if fault == "403":
            return self._error(403, "")
        if fault == "html":
            return self._send(200, b"<html>Please log in to the network</html>", {"Content-Type": "text/html"})
        if fault == "hang" and hub.ended.wait(PATIENCE_S):  # longer than any test waits
            self.close_connection = True
            return None
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if token and self.headers["Host"].startswith("localhost"):
            hub.leaked.append(token)
        if path.startswith("/signed/"):
            if self.command == "PUT":
                hub.stored[hashlib.sha256(self.body).hexdigest()] = self.body
                return self._send(200, b"", {})
            content = {hashlib.sha256(c).hexdigest(): c for repo in hub.repos.values() for c in repo.files.values()}
            return self._file(content[path.removeprefix("/signed/")], {})
        if token and token != hub.token:
            return self._error(401, "", "Invalid credentials in Authorization header")
        if self.command == "POST":
            return self._write(path, token)
        if path == "/api/agent-harnesses":  # a request of the library unless telemetry is off
            return self._error(404, "")
        if path.startswith("/api/"):
            kind, owner, name, action, rest = (*path.removeprefix("/api/").split("/", 4), "revision", "main")[:5]
        else:
            kind, *parts = path[1:].split("/") if path.startswith("/datasets/") else ("models", *path[1:].split("/"))
            owner, name, action, rest = *parts[:3], "/".join(parts[3:])
        repo = hub.repos.get(f"{kind}/{owner}/{name}")
        if repo is None or (repo.private and not token):
            return self._error(401, "RepoNotFound", "Repository not found")
        if action == "revision":
            return self._revision(repo, f"{owner}/{name}", rest)
        if action == "tree":
            return self._tree(repo, parse_qs(address.query))
        if repo.gated and action == "resolve":
            return self._error(403 if token else 401, "GatedRepo", "Access is restricted")
        return self._resolve(repo, rest)

    def _write(self, path: str, token: str) -> None:
        hub = self.hub
        if not token:
            return self._error(401, "", "Invalid username or password.")
        if path == "/api/repos/create":
            asked = json.loads(self.body)
            name = f"{asked.get('type', 'model')}s/{asked['organization']}/{asked['name']}"
            address = json.dumps({"url": f"{hub.url}/{name.removeprefix('models/')}"}).encode()
            is_new = name not in hub.repos
            if is_new:
                hub.add(name, {}, private=asked.get("visibility") == "private")
            return self._send(200 if is_new else 409, address, {"Content-Type": "application/json"})
        if path == "/api/validate-yaml":
            return self._json({"errors": [], "warnings": []}, {})
        if path.endswith("/info/lfs/objects/batch"):
            return self._batch()
        name, action, _ = path.removeprefix("/api/").rsplit("/", 2)
        repo = hub.repos[name]
        if action == "preupload":
            return self._json({"files": [self._way(repo, file) for file in json.loads(self.body)["files"]]}, {})
        files = dict(repo.files)
        for line in map(json.loads, self.body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = hub.stored[value["oid"]]
        commit = hub.add(name, files, private=repo.private)
        return self._json({"commitUrl": f"{hub.url}/{name}/commit/{commit}", "commitOid": commit}, {})

    def _way(self, repo: Repo, file: dict[str, object]) -> dict[str, object]:
        mode = "lfs" if int(str(file["size"])) >= LARGE else "regular"
        return {"path": file["path"], "uploadMode": mode, "shouldIgnore": False}

    def _batch(self) -> None:
        objects = []
        for one in json.loads(self.body)["objects"]:
            address = {"href": f"{self.hub.files_url}/signed/{one['oid']}?signature=s3cret"}
            objects.append(one if one["oid"] in self.hub.stored else one | {"actions": {"upload": address}})
        self._json({"transfer": "basic", "objects": objects}, {})

    def _revision(self, repo: Repo, name: str, revision: str) -> None:
        commit = repo.branches.get(revision) or (revision if revision in repo.branches.values() else None)
        if commit is None:
            return self._error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return self._json({"id": name, "sha": commit, "private": repo.private, "siblings": [], "tags": []}, {})

    def _tree(self, repo: Repo, query: dict[str, list[str]]) -> None:
        start = int(query.get("cursor", ["0"])[0])
        names = sorted(repo.files)
        entries: list[dict[str, object]] = (
            [] if start else [{"type": "directory", "path": "data", "oid": "0", "size": 0}]
        )
        for name in names[start : start + PAGE]:
            content = repo.files[name]
            entry: dict[str, object] = {"type": "file", "path": name, "size": len(content), "oid": git_digest(content)}
            if len(content) >= LARGE:
                sha256 = hashlib.sha256(content).hexdigest()
                entry |= {"oid": "1" * 40, "lfs": {"oid": sha256, "size": len(content), "pointerSize": 130}}
            entries.append(entry)
        more = {}
        if start + PAGE < len(names):
            address = (
                f"{self.hub.pages_url or self.hub.url}{urlsplit(self.path).path}?recursive=True&cursor={start + PAGE}"
            )
            more["Link"] = f'<{address}>; rel="next"'
        self._json(entries, more)

    def _resolve(self, repo: Repo, rest: str) -> None:
        commit, _, name = rest.partition("/")
        if commit not in repo.branches.values() or name not in repo.files:
            return self._error(404, "EntryNotFound", "Entry not found")
        content = repo.files[name]
        headers = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if len(content) < LARGE:
            return self._file(content, headers | {"ETag": f'"{git_digest(content)}"'})
        sha256 = hashlib.sha256(content).hexdigest()
        headers |= {"X-Linked-Etag": f'"{sha256}"', "X-Linked-Size": str(len(content))}
        return self._send(302, b"", headers | {"Location": f"{self.hub.files_url}/signed/{sha256}?signature=s3cret"})

    def _file(self, content: bytes, headers: dict[str, str]) -> None:
        status, whole = 200, len(content)
        if span := self.headers.get("Range"):
            start = int(span.removeprefix("bytes=").partition("-")[0])
            content, status = content[start:], 206
            headers = headers | {"Content-Range": f"bytes {start}-{whole - 1}/{whole}"}
        if self.fault == "short":
            content = content[:-1]
        if self.fault == "swapped":
            content = content[::-1]
        return self._send(status, content, headers)

    def _json(self, value: object, headers: dict[str, str]) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"} | headers)

    def _error(self, status: int, code: str, message: str = "Sorry") -> None:
        text = f"{message} (you sent {self.headers.get('Authorization')})"
        headers = {"X-Error-Code": code} if code else {}
        body = json.dumps({"error": text}).encode()
        self._send(status, body, headers | {"X-Error-Message": message, "Content-Type": "application/json"})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        lies = self.hub.lies
        headers = {name: lies.get(name, value) for name, value in headers.items()}
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.fault == "drop":
            self.close_connection = True
            body = body[: len(body) // 2]
        self.wfile.write(body)


def git_digest(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@contextlib.contextmanager
def serving(monkeypatch: pytest.MonkeyPatch, cache: str) -> Iterator[HubServer]:
    """Make this process use a hub with an empty cache, no token and no waiting; yield the hub."""
    from huggingface_hub import constants
    from huggingface_hub.utils import close_session

    with HubServer() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        template = f"{server.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", cache)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", f"{cache}/no-token")
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # its servers are others
        monkeypatch.delenv("HF_TOKEN", raising=False)
        monkeypatch.setattr("time.sleep", lambda seconds: None)  # between tries, ours and the library's
        yield server
    close_session()
