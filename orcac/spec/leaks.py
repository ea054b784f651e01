"""Secrets in a spec: an address with a password, and keys and tokens, each an error at its place."""

from __future__ import annotations

from collections.abc import Iterator

from orcac.spec.problems import Problem
from orcac.spec.secrets import has_credentials, has_key, is_secret_name
from orcac.spec.source import Tree

__all__ = ["find_leaks"]

_CREDENTIALS = (
    "this address contains a user name or a password, which belong in no file; remove them from the address, put them "
    "in an environment variable, and name it, as in `headers: {Authorization: BASIC_AUTH}`"
)
_KEY = (
    "this looks like a secret key, which belongs in no file; put it in an environment variable, and name that variable "
    "where a key is needed, as in `api_key_env: OPENAI_API_KEY`; the hub's token is read from HF_TOKEN"
)


def find_leaks(tree: Tree, *, free: bool = False) -> Iterator[Problem]:
    """Yield a problem for each text of a tree that is a secret.

    free: whether the keys of the tree may be any, so that one named `api_key` is not refused as unknown
    """
    if isinstance(tree.value, str):
        if has_credentials(tree.value):
            yield Problem(tree.mark, _CREDENTIALS)
        elif has_key(tree.value):
            yield Problem(tree.mark, _KEY)
    for key, part in tree.entries.items():
        if has_key(key):
            yield Problem(tree.key_marks[key], _KEY)
        if free and is_secret_name(key) and isinstance(part.value, str):
            yield Problem(part.mark, _KEY)
        else:
            yield from find_leaks(part, free=free or key == "extra")
    for part in tree.value if isinstance(tree.value, list) else ():
        yield from find_leaks(part, free=free)
