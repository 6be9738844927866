"""The operators' rules in the control plane: told, changed, ended, each time with who did it (PRODUCT.md, W4)."""

import time
from typing import Any, Final

import sqlalchemy as sa

from models.rules import Rule, RuleBook
from service.database import begin_writing, database_errors

SCHEMA: Final = sa.MetaData()
# One row a word on a rule: the last one holds, an empty body ends it. The number, counted in each shop for itself, is
# the version of its rules.
_WORDS: Final = sa.Table(
    "rule_words", SCHEMA, sa.Column("shop", sa.String(41), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("rule_id", sa.String(256), nullable=False), sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("actor", sa.String(64), nullable=False), sa.Column("body", sa.JSON),
)  # fmt: skip


class RuleStore:
    """The rules of all shops in one database; any number of processes.

    Raises
    ------
    ServiceUnreachable, StorageFull
        The database does not answer, or its disk is full (every method).
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def book(self, shop: str) -> RuleBook:
        """Return all rules of a shop that have not been ended, past and future ones too."""
        with database_errors(), self._engine.connect() as db:
            last = _last_words(shop).subquery()
            rows = db.execute(sa.select(last.c.number, last.c.body)).all()
        told = [Rule.model_validate(row.body) for row in rows if row.body is not None]
        return RuleBook.of(told, max((int(row.number) for row in rows), default=0))

    def put(self, shop: str, rule: Rule, actor: str) -> int:
        """Tell a rule, or tell it anew; return the new version of the shop's rules."""
        return self._say(shop, rule.rule_id, rule.model_dump(mode="json"), actor)

    def end(self, shop: str, rule_id: str, actor: str) -> int | None:
        """End a rule; return the new version, None when there is no such rule."""
        if all(rule.rule_id != rule_id for rule in self.book(shop).rules):
            return None
        return self._say(shop, rule_id, None, actor)

    def _say(self, shop: str, rule_id: str, body: dict[str, Any] | None, actor: str) -> int:
        at = time.time_ns() // 1_000
        said = sa.null() if body is None else body
        with database_errors(), self._engine.begin() as db:
            # One at a time: a version that can be read has all before it.
            begin_writing(db, "rule_words")
            last = db.scalar(sa.select(sa.func.max(_WORDS.c.number)).where(_WORDS.c.shop == shop))
            number = int(last or 0) + 1
            row = {"shop": shop, "number": number, "rule_id": rule_id, "at": at, "actor": actor, "body": said}
            db.execute(_WORDS.insert().values(row))
        return number


def _last_words(shop: str) -> sa.Select[Any]:
    latest = sa.select(sa.func.max(_WORDS.c.number)).where(_WORDS.c.shop == shop).group_by(_WORDS.c.rule_id)
    return sa.select(_WORDS).where(_WORDS.c.shop == shop, _WORDS.c.number.in_(latest))
