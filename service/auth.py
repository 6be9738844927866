"""Who calls: bearer key → shop and role.

Live keys are held in memory and read again as soon as the database changed. For SQLite the question "did it change?"
is `PRAGMA data_version` on a connection of our own that never writes (a few µs, no lock waited for); any commit of any
process changes the answer, so a revoked key fails on the next request. For PostgreSQL keys are read on every request.
"""

import hmac
import re
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from features.errors import PondError
from service.control import ControlPlane, Key, Role, secret_hash

_BEARER: Final = re.compile(r"[Bb]earer +pond_([0-9a-f]{12})_([0-9a-f]{64}) *")
_NO_SECRET: Final = bytes(32)


class NotAuthenticated(PondError):
    """No key, a key that is not known, or a revoked one; which of them is not told."""


class NotAllowed(PondError):
    """A good key of another shop, or of a role that may not do this."""


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller: what it may see is this shop only; `rate` is its requests a second, None: no limit."""

    key_id: str
    shop: str
    role: Role
    rate: float | None = None


class Authenticator:
    """Checks keys; one a worker, used from one thread at a time."""

    def __init__(self, control: ControlPlane) -> None:
        self._control = control
        self._keys: dict[str, tuple[Key, bytes]] = {}
        self._version: int | None = None
        is_sqlite = control.engine.dialect.name == "sqlite"
        self._watch = control.engine.connect().execution_options(isolation_level="AUTOCOMMIT") if is_sqlite else None

    def authenticate(self, authorization: str | None) -> Caller:
        """Return who calls from the `Authorization` header.

        Raises
        ------
        NotAuthenticated
            The sentence is the same for every cause; the time taken does not depend on the secret.
        """
        found = _BEARER.fullmatch(authorization or "")
        self._refresh()
        key, expected = self._keys.get(found[1], (None, _NO_SECRET)) if found else (None, _NO_SECRET)
        matches = hmac.compare_digest(secret_hash(found[2] if found else ""), expected)
        if key is None or not matches:
            raise NotAuthenticated("This needs a valid key: send `Authorization: Bearer pond_<id>_<secret>`.")
        return Caller(key.id, key.shop, key.role, key.rate)

    def _refresh(self) -> None:
        if self._watch is None:
            self._keys = self._control.live_keys()
            return
        # The raw cursor: a tenth of the cost of a statement through SQLAlchemy.
        cursor = self._raw().cursor()
        version = int(cursor.execute("PRAGMA data_version").fetchone()[0])
        cursor.close()
        if version != self._version:
            self._keys = self._control.live_keys()
            self._version = version

    def _raw(self) -> "sa.PoolProxiedConnection":
        if self._watch is None:
            raise ValueError("only SQLite is watched")
        return self._watch.connection

    def close(self) -> None:
        """Give the watching connection back."""
        if self._watch is not None:
            self._watch.close()


def require(caller: Caller, role: Role, shop: str | None = None) -> Caller:
    """Return the caller when it has at least this role (and belongs to `shop`), else raise `NotAllowed`."""
    if shop is not None and caller.shop != shop:
        raise NotAllowed("This key belongs to another shop; use a key of this one.")
    if not caller.role.covers(role):
        raise NotAllowed(f"This needs a key with the role '{role.value}'; this one is '{caller.role.value}'.")
    return caller
