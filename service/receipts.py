"""Receipts of erasures, kept without personal data: an id stands here only as its digest under the home's key.

The table is the truth about who was erased. `shops/<shop>/erased.json` and the live state's sets are copies, made
before anything is removed; `erased()` is what they are made of again when one is lost.
"""

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from features.erasure import Erased
from service.database import database_errors

SCHEMA: Final = sa.MetaData()
_SECRETS: Final = sa.Table(
    "secrets", SCHEMA, sa.Column("name", sa.String(32), primary_key=True),
    sa.Column("value", sa.LargeBinary(64), nullable=False),
)  # fmt: skip
_ERASURES: Final = sa.Table(
    "erasures", SCHEMA, sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("shop", sa.String(41), nullable=False), sa.Column("asked_at", sa.BigInteger, nullable=False),
    sa.Column("actor", sa.String(64), nullable=False), sa.Column("digests", sa.JSON, nullable=False),
    sa.Column("state", sa.String(8), nullable=False), sa.Column("done_at", sa.BigInteger),
    sa.Column("counts", sa.JSON, nullable=False),
)  # fmt: skip
_KEY: Final = "erasure"
KEY_BYTES: Final = 32
State: TypeAlias = Literal["begun", "done"]


@dataclass(frozen=True, slots=True)
class Receipt:
    """One erasure.

    Attributes
    ----------
    asked_at, done_at : int
        UTC µs; `done_at` is None while `state` is `begun`: something may still be somewhere.
    actor : str
        Who asked: a key's id, or `cli`.
    digests : tuple of bytes
        Of the person's ids.
    counts : mapping
        What was removed, by place, over all runs of this erasure.
    """

    id: str
    shop: str
    asked_at: int
    actor: str
    digests: tuple[bytes, ...]
    state: State
    done_at: int | None
    counts: Mapping[str, int]

    def as_facts(self) -> dict[str, Any]:
        """Return what may be told of it."""
        return {
            "receipt": self.id, "shop": self.shop, "state": self.state, "asked_at": self.asked_at,
            "done_at": self.done_at, "actor": self.actor, "counts": dict(self.counts),
        }  # fmt: skip


class Receipts:
    """The receipts of all shops, in the control database."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def key(self) -> bytes:
        """Return the home's key for digests of erased ids; made once and never changed: digests are compared."""
        wanted = sa.select(_SECRETS.c.value).where(_SECRETS.c.name == _KEY)
        with database_errors():
            with self._engine.connect() as db:
                known = db.scalar(wanted)
            if known is None:
                try:
                    with self._engine.begin() as db:
                        db.execute(_SECRETS.insert().values(name=_KEY, value=secrets.token_bytes(KEY_BYTES)))
                except IntegrityError:
                    pass  # another process was first: its key stands
                with self._engine.connect() as db:
                    known = db.scalars(wanted).one()
        return bytes(known)

    def erased(self, shop: str) -> Erased:
        """Return whom a shop has erased, those of erasures that are not done yet included."""
        query = sa.select(_ERASURES.c.digests).where(_ERASURES.c.shop == shop)
        with database_errors(), self._engine.connect() as db:
            found = [bytes.fromhex(digest) for digests in db.scalars(query) for digest in digests]
        return Erased(shop, self.key(), frozenset(found))

    def begin(self, shop: str, actor: str, digests: Sequence[bytes]) -> Receipt:
        """Open an erasure, or go on with the one that holds any of these digests."""
        known = self.of(shop, digests)
        if known is None:
            row = {
                "id": f"e{secrets.token_hex(12)}", "shop": shop, "asked_at": _now(), "actor": actor,
                "digests": [d.hex() for d in digests], "state": "begun", "counts": {},
            }  # fmt: skip
            with database_errors(), self._engine.begin() as db:
                db.execute(_ERASURES.insert().values(row))
            return self.get(shop, str(row["id"]))
        every = sorted({*known.digests, *digests})
        self._update(known.id, {"state": "begun", "digests": [d.hex() for d in every]})
        return self.get(shop, known.id)

    def finish(self, receipt: Receipt, counts: Mapping[str, int], *, done: bool) -> Receipt:
        """Add what a run removed; with `done` nothing is left anywhere."""
        now = self.get(receipt.shop, receipt.id)
        total = {place: now.counts.get(place, 0) + counts.get(place, 0) for place in {**now.counts, **counts}}
        told: dict[str, Any] = {"counts": dict(sorted(total.items()))}
        if done:
            told |= {"state": "done", "done_at": now.done_at or _now()}
        self._update(receipt.id, told)
        return self.get(receipt.shop, receipt.id)

    def _update(self, receipt_id: str, values: Mapping[str, Any]) -> None:
        with database_errors(), self._engine.begin() as db:
            db.execute(_ERASURES.update().where(_ERASURES.c.id == receipt_id).values(**values))

    def of(self, shop: str, digests: Sequence[bytes]) -> Receipt | None:
        """Return the erasure of a person, None when there is none."""
        wanted = set(digests)
        return next((one for one in self.list(shop) if wanted & set(one.digests)), None)

    def find(self, shop: str, receipt_id: str) -> Receipt | None:
        """Return a receipt of a shop, None when it has none of that id."""
        return next((one for one in self.list(shop) if one.id == receipt_id), None)

    def get(self, shop: str, receipt_id: str) -> Receipt:
        """Return a receipt that is there."""
        found = self.find(shop, receipt_id)
        if found is None:
            raise KeyError(receipt_id)
        return found

    def list(self, shop: str) -> list[Receipt]:
        """Return all receipts of a shop, oldest first."""
        query = sa.select(_ERASURES).where(_ERASURES.c.shop == shop).order_by(_ERASURES.c.asked_at, _ERASURES.c.id)
        with database_errors(), self._engine.connect() as db:
            return [
                Receipt(
                    row.id, row.shop, row.asked_at, row.actor, tuple(map(bytes.fromhex, row.digests)), row.state,
                    row.done_at, row.counts,
                )
                for row in db.execute(query)
            ]  # fmt: skip

    def vacuum(self) -> None:
        """Write an SQLite database anew and empty its log, so that no page of before is left; nothing elsewhere."""
        if self._engine.dialect.name != "sqlite":
            return
        with database_errors(), self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as db:
            db.exec_driver_sql("VACUUM")
            db.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")


def _now() -> int:
    return time.time_ns() // 1_000
