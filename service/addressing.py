"""Ids in paths: which text a path names (RFC 3986).

An id stands in a path percent-encoded as one segment (`encodeURIComponent`, Python's `quote(id, safe="")`): whatever it
holds, it is then that id and nothing else. `/v1/customers/a%2Fconsent` is the customer `a/consent`;
`/v1/customers/a/consent` is the consent of the customer `a`. Routes are therefore chosen by the path as it was sent, in
which `%2F` is no `/`, and only then is the id decoded. An id's own `/` may also stand unencoded where the rest of the
path leaves no doubt.
"""

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from fastapi.routing import APIRoute
from starlette.types import Receive, Scope, Send

from features.errors import UsageError

_ENCODED: Final = re.compile(rb"%([0-9A-Fa-f]{2})")
_UNRESERVED: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


class UnreadablePath(UsageError):
    """A path whose percent-encoded bytes are not UTF-8."""

    def __init__(self) -> None:
        super().__init__(
            "The path is not UTF-8: percent-encode the UTF-8 bytes of an id, for example %E8%8C%B6 for 茶."
        )


def normal_path(raw: bytes) -> str:
    """Return a path with every needless percent-encoding undone (RFC 3986, 6.2.2.2) and all others kept, upper case.

    Raises
    ------
    UnreadablePath
        What is encoded is not UTF-8, so that two different paths could become one id.
    """
    try:
        unquote_to_bytes(raw).decode()
    except UnicodeDecodeError as error:
        raise UnreadablePath from error
    return _ENCODED.sub(_plain_if_needless, raw).decode()


def _plain_if_needless(found: "re.Match[bytes]") -> bytes:
    byte = int(found[1], 16)
    return bytes([byte]) if byte in _UNRESERVED else found[0].upper()


class IdRoute(APIRoute):
    """A route that was chosen by the path as it was sent; its parameters are decoded when it has been chosen."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Decode what the path names, then answer."""
        scope["path_params"] = {
            name: unquote_to_bytes(value).decode() if isinstance(value, str) else value
            for name, value in scope["path_params"].items()
        }
        await super().handle(scope, receive, send)
