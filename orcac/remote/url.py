"""A store at a URL: an object store, an SFTP or a web server, through fsspec.

An object store shows an object once it is whole. Other servers may show a file that is being written; its artifact or
its digest then shows that it is not finished (`artifacts`, `answers`). Keys come from where the library of the server
looks for them, such as AWS_ACCESS_KEY_ID or fsspec's own settings, and are neither printed nor stored.
"""

from __future__ import annotations

import contextlib
import errno
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, cast
from urllib.parse import unquote, urlsplit

from orcac.errors import EndpointError, InputError, OrcacError, StoreError

if TYPE_CHECKING:
    from orcac.remote.transfer import Counter

__all__ = ["UrlPlace"]

_BLOCK = 8 << 20  # bytes of one request for a part of a file
# They have no folders; to make one would make a bucket.
_BUCKETS = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oci", "oss", "memory"}


class UrlPlace:
    """A store at a URL. Raises InputError if the URL cannot be used."""

    def __init__(self, url: str) -> None:
        self._secrets = _find_secrets(url)
        self.label = self._mask(re.split("[?#]", url)[0].rstrip("/"))  # what follows may be a signature
        if "::" in url or "?" in url or "#" in url:
            raise InputError(f"{self.label}: is not the address of a folder", fix="leave out `::`, `?` and `#`")
        try:
            import fsspec

            self._fs, path = fsspec.core.url_to_fs(url)
        except ModuleNotFoundError as error:
            if error.name == "fsspec":
                raise  # `extras.explain_missing_package` names the extra
            raise self._unusable(error) from None
        except (ImportError, ValueError) as error:
            raise self._unusable(error) from None
        except Exception as error:  # some servers are asked at once
            raise self._unreachable(error) from None
        self._root = path.rstrip("/")
        scheme = urlsplit(url).scheme
        self._is_web, self._has_folders = scheme in ("http", "https"), scheme not in _BUCKETS
        self.can_seek = not self._is_web  # few web servers send a part of a file

    def names(self, folder: str) -> list[str]:
        with self.errors(folder):
            self._fs.invalidate_cache()
            try:
                listed = self._fs.ls(self._path(folder), detail=False)
            except (FileNotFoundError, NotADirectoryError):
                return []
        return sorted({PurePosixPath(urlsplit(name).path if self._is_web else name).name for name in listed} - {""})

    def size(self, name: str) -> int | None:
        try:
            with self.errors(name):
                self._fs.invalidate_cache(self._path(name))
                return int(self._fs.info(self._path(name))["size"] or 0)
        except FileNotFoundError:
            return None

    def open(self, name: str) -> BinaryIO:
        with self.errors(name):
            return cast(BinaryIO, self._fs.open(self._path(name), "rb", block_size=0 if self._is_web else _BLOCK))

    def put(self, name: str, source: Path | bytes, count: Counter = lambda count: None) -> None:
        with self.errors(name):
            try:
                self._put(name, source, count)
            except FileNotFoundError as error:
                if not self._has_folders:
                    raise self._unreachable(error) from None
                self._fs.makedirs(self._path(name).rpartition("/")[0], exist_ok=True)
                self._put(name, source, count)

    def _put(self, name: str, source: Path | bytes, count: Counter) -> None:
        from fsspec.callbacks import Callback

        class Counting(Callback):
            def relative_update(self, inc: int = 1) -> None:
                count(inc)

        if isinstance(source, bytes):
            self._fs.pipe_file(self._path(name), source)
        else:
            self._fs.put_file(str(source), self._path(name), callback=Counting())

    def remove(self, name: str) -> None:
        with self.errors(name), contextlib.suppress(FileNotFoundError):
            self._fs.rm_file(self._path(name))

    @contextlib.contextmanager
    def hold(self, ref: str) -> Iterator[bool]:
        """Yield True: no study works in a store at a URL."""
        yield True

    @contextlib.contextmanager
    def errors(self, name: str) -> Iterator[None]:
        try:
            yield
        except OrcacError:
            raise
        except FileNotFoundError as error:
            cause = error.__cause__  # fsspec takes any failure of a web server for a missing file
            if self._is_web and cause and getattr(cause, "status", None) not in (404, 410):
                raise self._unreachable(cause) from None
            raise
        except NotImplementedError:
            raise InputError(f"{self.label}: cannot be written to", fix="name a folder or a bucket") from None
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise StoreError(f"{self.label}: is full", fix="free some space and run again") from None
            raise self._unreachable(error) from None
        except Exception as error:  # each library has errors of its own
            raise self._unreachable(error) from None

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}".rstrip("/")

    def _unreachable(self, error: BaseException) -> EndpointError:
        return EndpointError(
            f"{self.label}: {self._describe(error)}",
            fix="check its address, the network and your keys, and run again: what was sent stays",
        )

    def _unusable(self, error: Exception) -> InputError:
        fix = "correct the address, or install what it needs: pip install 'orcac[s3]' for s3://"
        return InputError(f"{self.label}: {self._describe(error)}", fix=fix)

    def _describe(self, error: BaseException) -> str:
        text = " ".join(self._mask(str(error)).split())[:300]
        return f"{type(error).__name__}: {text}" if text else type(error).__name__

    def _mask(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


def _find_secrets(url: str) -> list[str]:
    """Return the secrets in a URL as they may appear in messages, the longest first.

    A user without a password may be a token.
    """
    userinfo = urlsplit(url).netloc.rpartition("@")[0]
    parts = [userinfo, userinfo.partition(":")[2]]
    return sorted({one for part in parts for one in (part, unquote(part)) if one}, key=len, reverse=True)
