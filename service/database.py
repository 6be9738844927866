"""The control database's failures as Pond's errors."""

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
