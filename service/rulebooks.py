"""Each shop's rules in one worker, read again as soon as a customer's state names a later version."""

import asyncio
from collections import defaultdict
from typing import Final

from features.errors import PondError
from models.rules import NO_RULES, RuleBook
from service.journal import ZERO
from service.rules import RuleStore

RULES: Final = "rules"  # the counter of the live state that names their version


def version_text(number: int) -> str:
    """Return a version of rules as the live state's counters hold it."""
    return f"{number}-0"


class RuleBooks:
    """What a worker knows of the rules; until they were read once, none are known."""

    def __init__(self, store: RuleStore) -> None:
        self._store = store
        self._books: dict[str, RuleBook] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def at(self, shop: str, version: str = ZERO) -> tuple[RuleBook, bool]:
        """Return the rules at a version at least, and whether they could be read; else the last ones known."""
        wanted = int(version.partition("-")[0])
        if (known := self._books.get(shop)) is not None and known.version >= wanted:
            return known, True
        async with self._locks[shop]:
            known = self._books.get(shop)
            if known is not None and known.version >= wanted:
                return known, True
            try:
                self._books[shop] = found = await asyncio.to_thread(self._store.book, shop)
            except (PondError, OSError):
                return known or NO_RULES, False
        return found, True
