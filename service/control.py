"""The control plane: shops, keys and the audit trail; SQLite in `<home>/control.db`, or PostgreSQL by URL."""

import hashlib
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from fcntl import LOCK_EX, flock
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from features.erasure import Erased
from features.errors import ReleaseError, ServiceUnreachable, UsageError
from features.ids import validated_shop_name
from service import receipts, rules
from service.database import begin_writing
from service.database import database_errors as _errors
from service.receipts import Receipts
from service.settings import ServiceSettings

FORMAT_VERSION: Final = 1

_SCHEMA: Final = sa.MetaData()
_FORMAT: Final = sa.Table("format", _SCHEMA, sa.Column("version", sa.Integer, primary_key=True))
_SHOPS: Final = sa.Table(
    "shops", _SCHEMA, sa.Column("name", sa.String(41), primary_key=True),
    sa.Column("partitions", sa.Integer, nullable=False), sa.Column("created_at", sa.BigInteger, nullable=False),
)  # fmt: skip
_KEYS: Final = sa.Table(
    "keys", _SCHEMA, sa.Column("id", sa.String(16), primary_key=True), sa.Column("shop", sa.String(41), nullable=False),
    sa.Column("role", sa.String(16), nullable=False), sa.Column("secret_sha256", sa.LargeBinary(32), nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False), sa.Column("revoked_at", sa.BigInteger),
)  # fmt: skip
# A table of its own: a control database of before needs no change, and a key without a row has no limit.
_RATES: Final = sa.Table(
    "rates", _SCHEMA, sa.Column("key", sa.String(16), primary_key=True),
    sa.Column("per_second", sa.Float, nullable=False),
)  # fmt: skip
_AUDIT: Final = sa.Table(
    "audit", _SCHEMA, sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("at", sa.BigInteger, nullable=False), sa.Column("actor", sa.String(64), nullable=False),
    sa.Column("shop", sa.String(41), nullable=False), sa.Column("action", sa.String(64), nullable=False),
    sa.Column("details", sa.JSON, nullable=False),
)  # fmt: skip


_KEYS_WITH_RATES: Final = sa.select(_KEYS, _RATES.c.per_second).select_from(
    _KEYS.outerjoin(_RATES, _KEYS.c.id == _RATES.c.key)
)
LOWEST_RATE: Final = 0.01
HIGHEST_RATE: Final = 100_000


class Role(StrEnum):
    """What a key may do; each role may do what those before it may."""

    backend = "backend"
    operator = "operator"
    admin = "admin"

    def covers(self, needed: "Role") -> bool:
        """Whether this role may do what `needed` may."""
        order = list(Role)
        return order.index(self) >= order.index(needed)


@dataclass(frozen=True, slots=True)
class Key:
    """An API key without its secret; moments are UTC µs, `rate` is requests a second (None: no limit)."""

    id: str
    shop: str
    role: Role
    created_at: int
    revoked_at: int | None
    rate: float | None = None


@dataclass(frozen=True, slots=True)
class AuditRow:
    """Who did what to which shop."""

    at: int
    actor: str
    shop: str
    action: str
    details: Mapping[str, Any]


def secret_hash(secret: str) -> bytes:
    """SHA-256 of a key's secret; with 256 random bits no slow hash is needed."""
    return hashlib.sha256(secret.encode()).digest()


class ControlPlane:
    """Shops, keys and audit in one database; any number of processes.

    Raises
    ------
    ServiceUnreachable, StorageFull
        The database does not answer, or its disk is full (every method).
    """

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine

    @classmethod
    def open(cls, settings: ServiceSettings) -> "ControlPlane":
        """Open the database, made if it does not exist; one of a newer Pond is refused."""
        if settings.control_url is None:
            settings.home.mkdir(parents=True, exist_ok=True)
        engine = sa.create_engine(settings.control, pool_pre_ping=not settings.control.startswith("sqlite"))
        if engine.dialect.name == "sqlite":
            sa.event.listen(engine, "connect", _prepare_sqlite)
        plane = cls(engine)
        with _alone_with(engine.url):
            plane._migrate()
        return plane

    def _migrate(self) -> None:
        with _errors(), self.engine.begin() as db:
            begin_writing(db)  # two commands that start together must not both make the tables
            _SCHEMA.create_all(db)
            receipts.SCHEMA.create_all(db)
            rules.SCHEMA.create_all(db)
            version = db.scalar(sa.select(_FORMAT.c.version))
            if version is None:
                db.execute(_FORMAT.insert().values(version=FORMAT_VERSION))
        if version is not None and version > FORMAT_VERSION:
            raise ReleaseError(f"The control database has format {version}, newer than {FORMAT_VERSION}; upgrade Pond.")

    def note_shop(self, shop: str, partitions: int) -> int:
        """Record a shop when it is first seen; return its number of partitions, which never changes."""
        name = validated_shop_name(shop)
        with _errors():
            try:
                with self.engine.begin() as db:
                    db.execute(_SHOPS.insert().values(name=name, partitions=partitions, created_at=_now()))
            except IntegrityError:
                pass  # known already: the recorded number stands
            with self.engine.connect() as db:
                return int(db.scalars(sa.select(_SHOPS.c.partitions).where(_SHOPS.c.name == name)).one())

    def create_key(self, shop: str, role: Role, actor: str = "cli", rate: float | None = None) -> str:
        """Make a key and return `pond_<id>_<secret>`: the only time its secret is seen.

        With `rate`, at most so many requests a second are answered, by all workers together.
        """
        if rate is not None and not LOWEST_RATE <= rate <= HIGHEST_RATE:
            raise UsageError(f"A key's rate is {LOWEST_RATE} to {HIGHEST_RATE:,} requests a second, not {rate}.")
        key_id, secret = secrets.token_hex(6), secrets.token_hex(32)
        row = {
            "id": key_id, "shop": validated_shop_name(shop), "role": role.value, "secret_sha256": secret_hash(secret),
            "created_at": _now(),
        }  # fmt: skip
        with _errors(), self.engine.begin() as db:
            db.execute(_KEYS.insert().values(row))
            if rate is not None:
                db.execute(_RATES.insert().values(key=key_id, per_second=rate))
            limit = {} if rate is None else {"rate": rate}
            _audit(db, actor, shop, "key.create", {"key": key_id, "role": role.value, **limit})
        return f"pond_{key_id}_{secret}"

    def list_keys(self, shop: str) -> list[Key]:
        """All keys of a shop, revoked ones too, oldest first."""
        query = _KEYS_WITH_RATES.where(_KEYS.c.shop == shop).order_by(_KEYS.c.created_at, _KEYS.c.id)
        with _errors(), self.engine.connect() as db:
            return [_key(row) for row in db.execute(query)]

    def revoke_key(self, shop: str, key_id: str, actor: str = "cli") -> bool:
        """End a key for good; the next request with it is refused. Return False when it was revoked before."""
        wanted = (_KEYS.c.id == key_id) & (_KEYS.c.shop == shop)
        with _errors(), self.engine.begin() as db:
            found = db.execute(sa.select(_KEYS).where(wanted)).first()
            if found is None:
                raise UsageError(f"The shop '{shop}' has no key '{key_id}'; list them with `pond keys list`.")
            done = db.execute(_KEYS.update().where(wanted & _KEYS.c.revoked_at.is_(None)).values(revoked_at=_now()))
            if done.rowcount:
                _audit(db, actor, shop, "key.revoke", {"key": key_id})
            return bool(done.rowcount)

    def live_keys(self) -> dict[str, tuple[Key, bytes]]:
        """Keys that are not revoked with the SHA-256 of their secrets, by id."""
        query = _KEYS_WITH_RATES.where(_KEYS.c.revoked_at.is_(None))
        with _errors(), self.engine.connect() as db:
            return {row.id: (_key(row), bytes(row.secret_sha256)) for row in db.execute(query)}

    def record(self, actor: str, shop: str, action: str, details: Mapping[str, Any]) -> None:
        """Add a row to the audit trail; details name things, they hold no secrets and no personal data."""
        with _errors(), self.engine.begin() as db:
            _audit(db, actor, shop, action, details)

    def audit(self, shop: str, limit: int = 100) -> list[AuditRow]:
        """The latest audit rows of a shop, newest first."""
        query = sa.select(_AUDIT).where(_AUDIT.c.shop == shop).order_by(_AUDIT.c.number.desc()).limit(limit)
        with _errors(), self.engine.connect() as db:
            return [AuditRow(r.at, r.actor, r.shop, r.action, r.details) for r in db.execute(query)]

    @property
    def receipts(self) -> Receipts:
        """Erasures: whom which shop has erased, and what became of it."""
        return Receipts(self.engine)

    def erased(self, shop: str) -> Erased:
        """Whom a shop has erased, as digests: what the tombstones of an emptied live state are made of again."""
        return self.receipts.erased(shop)

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def key_of_erasures(settings: ServiceSettings) -> bytes:
    """Return the key by whose digests erased customers are known, for a process that needs nothing else from here."""
    control = ControlPlane.open(settings)
    try:
        return control.receipts.key()
    finally:
        control.close()


def _key(row: sa.Row[Any]) -> Key:
    return Key(row.id, row.shop, Role(row.role), row.created_at, row.revoked_at, row.per_second)


def _audit(db: sa.Connection, actor: str, shop: str, action: str, details: Mapping[str, Any]) -> None:
    db.execute(_AUDIT.insert().values(at=_now(), actor=actor, shop=shop, action=action, details=dict(details)))


def _now() -> int:
    return time.time_ns() // 1_000


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    for pragma in ("busy_timeout=5000", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


@contextmanager
def _alone_with(url: sa.URL) -> Iterator[None]:
    """Open an SQLite file one process at a time: the change to WAL, made once per file, waits for nobody.

    SQLite answers "database is locked" at once, whatever the busy timeout, to a connection that asks for WAL while
    another one changes the file over. The lock is on the folder, so that no file is left behind.
    """
    if not url.drivername.startswith("sqlite") or not url.database:
        yield
        return
    parent = Path(url.database).absolute().parent
    try:
        folder = os.open(parent, os.O_RDONLY)
    except OSError as error:
        raise ServiceUnreachable(
            f"The control database's folder {parent} cannot be opened ({error.strerror})."
        ) from error
    try:
        flock(folder, LOCK_EX)
        yield
    finally:
        os.close(folder)
