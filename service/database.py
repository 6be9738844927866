"""The control database: its failures as Pond's errors, and one writer at a time."""

import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from features.errors import ServiceUnreachable, StorageFull


class database_errors:  # noqa: N801 - reads as a statement: `with database_errors():`
    """Turn the database's failures into Pond's."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, OperationalError):
            if "full" in str(error.orig):
                raise StorageFull("The disk of the control database is full; make room and try again.") from error
            raise ServiceUnreachable(f"The control database does not answer ({error.orig}); try again.") from error


def begin_writing(db: sa.Connection, table: str = "") -> None:
    """Let nobody else write until this transaction ends, so that what it reads stays true.

    SQLite takes its one write lock; PostgreSQL locks the table, readers go on.
    """
    if db.dialect.name == "sqlite":
        db.exec_driver_sql("BEGIN IMMEDIATE")
    elif table:
        db.execute(sa.text(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE"))
