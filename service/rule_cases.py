"""What operators do with rules: tell, look, end; every change is audited and holds from the next request on."""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from models.rules import Rule, RuleBook
from models.storefront import Storefront
from service.control import ControlPlane
from service.live_state import LiveState
from service.problems import LimitExceeded, NotKept
from service.rule_schemas import RuleIn, RuleOut, RulesOut
from service.rulebooks import RULES, version_text
from service.rules import RuleStore
from service.use_cases import UseCases

MOST_RULES: Final = 500  # each answer looks at all of them


def unknown_of(rule: Rule, front: Storefront) -> list[str]:
    """Return what a rule names that is not there: a slip of the pen, or something that is still to come."""
    ids, items = front.ids(rule.kind), front.items
    found = [f"scene {name}" for name in rule.scenes if name not in front.scenes]
    found += [f"{rule.item_kind} {item_id}" for item_id in rule.item_ids if ids.idx(item_id) < 0]
    if rule.category and not any(path == rule.category or path.startswith(f"{rule.category}/") for path in items.paths):
        found.append(f"category {rule.category}")
    if rule.brand and rule.brand not in items.brands:
        found.append(f"brand {rule.brand}")
    return found


@dataclass(frozen=True, eq=False)
class RuleCases:
    """One worker's use cases over the rules of all shops."""

    store: RuleStore
    control: ControlPlane
    state: LiveState
    cases: UseCases
    clock: Callable[[], int]

    async def put(self, shop: str, rule_id: str | None, said: RuleIn, actor: str) -> RuleOut:
        """Keep a rule, with an id of our own when none is given; every worker's next request obeys it."""
        where = await self.cases.shop(shop)
        rule = said.rule(rule_id or f"rule-{secrets.token_hex(6)}", where.timezone)
        known = await self._book(shop)
        if len({*(one.rule_id for one in known.rules), rule.rule_id}) > MOST_RULES:
            raise LimitExceeded("The number of a shop's rules", MOST_RULES)
        version = await asyncio.to_thread(self.store.put, shop, rule, actor)
        await self._announced(shop, version, actor, "rule.put", rule)
        return self._told(shop, rule)

    async def all(self, shop: str) -> RulesOut:
        """Return every rule of a shop."""
        await self.cases.shop(shop)
        book = await self._book(shop)
        return RulesOut(version=version_text(book.version), rules=[self._told(shop, rule) for rule in book.rules])

    async def one(self, shop: str, rule_id: str) -> RuleOut:
        """Return a rule."""
        return self._told(shop, await self._known(shop, rule_id))

    async def end(self, shop: str, rule_id: str, actor: str) -> RuleOut:
        """End a rule; it speaks of no answer from the next request on."""
        rule = await self._known(shop, rule_id)
        version = await asyncio.to_thread(self.store.end, shop, rule_id, actor)
        if version is None:
            raise NotKept("rule")
        await self._announced(shop, version, actor, "rule.end", rule)
        return self._told(shop, rule)

    def _told(self, shop: str, rule: Rule) -> RuleOut:
        """Word a rule; before there is a release nothing can be said of what it names."""
        serves = self.cases.sets.release_id(shop) is not None
        return RuleOut.of(rule, self.clock(), unknown_of(rule, self.cases.sets.of(shop).storefront) if serves else ())

    async def _book(self, shop: str) -> RuleBook:
        return await asyncio.to_thread(self.store.book, shop)

    async def _known(self, shop: str, rule_id: str) -> Rule:
        await self.cases.shop(shop)
        found = next((rule for rule in (await self._book(shop)).rules if rule.rule_id == rule_id), None)
        if found is None:
            raise NotKept("rule")
        return found

    async def _announced(self, shop: str, version: int, actor: str, action: str, rule: Rule) -> None:
        details = {"rule": rule.rule_id, "does": rule.action, "items": rule.item_kind, "version": version}
        await asyncio.to_thread(self.control.record, actor, shop, action, details)
        # Last: who reads the new version must find the rule. Told again after a failure, it is announced then.
        await self.state.announce(shop, RULES, version_text(version))
