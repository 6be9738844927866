"""A person in data that is not only his: the rows about him, and other people's rows without their mention of him.

Whose a row is says its `customer_id`. Others may name him as their inviter or advisor, or in a shop's own columns,
which are JSON. There a value is taken for him when the name of its field says so or when the id is telling; an id of a
few letters or digits stands in other people's rows by chance (a product, a price), and taking those away would destroy
what is theirs.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import polars as pl

from features import columns as c

REFERENCES: Final = ("inviter_id", "advisor_id")
PERSON_FIELDS: Final = frozenset({c.CUSTOMER_ID, *REFERENCES})
TELLING_CHARS: Final = 8  # shorter texts occur by chance
ERASED: Final = "(erased)"
_EDGE: Final = r"[\w-]"  # what continues an id: `c-42` is not in `c-421` or `c-42-7`


@dataclass(frozen=True)
class Person:
    """One or more ids to be found; usually all ids of one person."""

    ids: frozenset[str]

    @classmethod
    def of(cls, ids: Iterable[str]) -> "Person":
        """Take some ids."""
        return cls(frozenset(ids))

    @cached_property
    def telling(self) -> "Person":
        """Those ids that hardly occur by chance."""
        return Person(frozenset(one for one in self.ids if len(one) >= TELLING_CHARS))

    @cached_property
    def forms(self) -> tuple[str, ...]:
        """Every way in which texts spell the ids: plain, as JSON writes them, and JSON inside JSON; longest first."""
        found = set(self.ids)
        for _ in range(2):
            found |= {json.dumps(text, ensure_ascii=ascii_)[1:-1] for text in found for ascii_ in (True, False)}
        return tuple(sorted(found, key=lambda text: (-len(text), text)))

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Finds the ids as words of a text."""
        if not self.ids:
            return re.compile(r"(?!)")
        return re.compile(f"(?<!{_EDGE})(?:{'|'.join(map(re.escape, self.forms))})(?!{_EDGE})")

    def mentions(self, frame: pl.LazyFrame | pl.DataFrame) -> pl.Expr:
        """Return the expression that is true for rows which may name the person (a coarse sieve)."""
        schema = frame.collect_schema()
        tests = [pl.col(name).is_in(list(self.ids)) for name in (c.CUSTOMER_ID, *REFERENCES) if name in schema]
        tests += [pl.col(name).str.contains_any(list(self.forms)) for name in _json_columns(schema)]
        return pl.any_horizontal(*(test.fill_null(value=False) for test in tests)) if tests else pl.lit(value=False)

    def own(self, frame: pl.LazyFrame | pl.DataFrame) -> pl.Expr:
        """Return the expression that is true for the person's own rows."""
        if c.CUSTOMER_ID not in frame.collect_schema():
            return pl.lit(value=False)
        return pl.col(c.CUSTOMER_ID).is_in(list(self.ids)).fill_null(value=False)

    def unnamed(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return other people's rows without their mention of the person."""
        references = [
            pl.when(pl.col(name).is_in(list(self.ids))).then(None).otherwise(pl.col(name)).alias(name)
            for name in REFERENCES
            if name in frame.columns
        ]
        frame = frame.with_columns(references)
        for name in _json_columns(frame.schema):
            if not frame.select(pl.col(name).str.contains_any(list(self.forms)).any()).item():
                continue
            texts = [self.unnamed_json(text) for text in frame[name].to_list()]
            frame = frame.with_columns(pl.Series(name, texts, dtype=pl.String))
        return frame

    def unnamed_json(self, text: str | None) -> str | None:
        """Return a JSON text without the person, itself when it does not name him."""
        if text is None or not any(form in text for form in self.forms):
            return text
        try:
            said = json.loads(text)
        except ValueError:
            return self.telling.pattern.sub(ERASED, text)
        cleaned = self.unnamed_value(said)
        if cleaned == said:
            return text
        return json.dumps(cleaned, ensure_ascii=False, sort_keys=True, separators=(",", ":"))

    def unnamed_value(self, value: Any) -> Any:
        """Return a JSON value without the person."""
        if isinstance(value, Mapping):
            return {
                self.unnamed_value(name): None
                if name in PERSON_FIELDS and isinstance(part, str) and part in self.ids
                else self.unnamed_value(part)
                for name, part in value.items()
            }
        if isinstance(value, list):
            return [self.unnamed_value(part) for part in value]
        return self.telling.pattern.sub(ERASED, value) if isinstance(value, str) else value


def _json_columns(schema: Mapping[str, Any]) -> list[str]:
    return [name for name in (c.PROPS, "attributes", "body") if schema.get(name) == pl.String]
