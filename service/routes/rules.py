"""The operators' rules: pin, boost, bury, exclude, only; with dates, audited."""

from typing import Final

from fastapi import APIRouter

from service.access import AnyWorker, Operator
from service.addressing import IdRoute
from service.problems import RESPONSES
from service.rule_schemas import RuleIn, RuleOut, RulesOut
from service.schemas import Id, Problem

router: Final = APIRouter(
    route_class=IdRoute, prefix="/v1/rules", tags=["rules"],
    responses=RESPONSES | {404: {"model": Problem, "description": "Not known."}},
)  # fmt: skip


@router.get("", summary="All rules")
async def list_rules(worker: AnyWorker, caller: Operator) -> RulesOut:
    """Return every rule of the shop, those that begin later or are over too."""
    return await worker.rules.all(caller.shop)


@router.post("", summary="A new rule")
async def add_rule(sent: RuleIn, worker: AnyWorker, caller: Operator) -> RuleOut:
    """Keep a rule under a new id; every worker's next request obeys it."""
    return await worker.rules.put(caller.shop, None, sent, caller.key_id)


@router.put("/{rule_id:path}", summary="A rule as it is from now on")
async def put_rule(rule_id: Id, sent: RuleIn, worker: AnyWorker, caller: Operator) -> RuleOut:
    """Keep a rule under this id, in place of one that is there; every worker's next request obeys it."""
    return await worker.rules.put(caller.shop, rule_id, sent, caller.key_id)


@router.get("/{rule_id:path}", summary="A rule")
async def get_rule(rule_id: Id, worker: AnyWorker, caller: Operator) -> RuleOut:
    """Return a rule as it was told last."""
    return await worker.rules.one(caller.shop, rule_id)


@router.delete("/{rule_id:path}", summary="End a rule")
async def end_rule(rule_id: Id, worker: AnyWorker, caller: Operator) -> RuleOut:
    """End a rule; the audit trail keeps that it was there."""
    return await worker.rules.end(caller.shop, rule_id, caller.key_id)
