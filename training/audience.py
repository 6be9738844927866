"""Audiences in batch: the same choice as the service makes, from what the lake knows of consent and purchases."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import polars as pl

from features import columns as c
from features.columns import EventKind, ItemKind
from features.consents import MARKETING, may_touch, refusals, words_of_all
from features.contracts import Tables
from features.errors import UsageError
from features.history import DAY_US
from features.identities import canonical_ids, with_canonical_ids
from features.offers import offered_products
from models.audience.aim import CANNOT_BE_SOLD, NO_PROBABILITIES, Aim, AimKind, take_aim
from models.audience.model import AudienceModel, Responses
from models.audience.selection import Member, Rules, Selection, expected
from models.revision import is_nobody
from models.trained import Models
from training.since import read_changes, storefront_after

COLUMNS: Final[Mapping[str, pl.DataType]] = {
    "rank": pl.Int32(), "customer_id": pl.String(), "probability": pl.Float64(), "part": pl.String(),
    "reason_code": pl.String(), "reason_zh": pl.String(), "reason_en": pl.String(),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class AudienceQuestion:
    """For what, how, and whom to leave out; as `AudienceRequest` of the service says it.

    Attributes
    ----------
    channel : str
        Of the message; empty: a consent for all channels is needed.
    bought_days : int or None
        Leave out who bought any of it in so many days.
    as_of : int or None
        The moment of the question, UTC µs; None: the release's own.
    """

    kind: AimKind
    id: str
    rules: Rules
    channel: str = ""
    for_analysis: bool = False
    exclude: frozenset[str] = frozenset()
    bought_days: int | None = None
    as_of: int | None = None


@dataclass(frozen=True, eq=False, slots=True)
class AudienceList:
    """A list and what is to be said of it.

    Attributes
    ----------
    listed, held_out : DataFrame
        Columns `COLUMNS`; who is held out must not be touched.
    expected_responses : float or None
        Of the list; None where the release has no probabilities.
    """

    listed: pl.DataFrame
    held_out: pl.DataFrame
    expected_responses: float | None
    left_out: Mapping[str, int]
    notes: tuple[str, ...]
    horizon_days: int


def seek_audience(models: Models, lake: Tables, question: AudienceQuestion, low_stock: float = 0.0) -> AudienceList:
    """Choose whom to touch, by what was known at the question's moment; consent counts whenever it was refused.

    Raises
    ------
    UsageError
        The moment lies before the release; nothing has the aim's id (`UnknownAim`).
    """
    at = models.as_of if question.as_of is None else question.as_of
    if at < models.as_of:
        raise UsageError("An audience cannot be asked for before the moment of the release; leave --as-of out.")
    model = models.part(AudienceModel)
    front = storefront_after(models, read_changes(lake, models.as_of, at), low_stock)
    offered = offered_products(lake, question.id) if question.kind == "campaign" else ()
    aimed = take_aim(Aim(question.kind, question.id, offered), front, model.crowd, at)
    found = model.responses(aimed.target, models.histories)
    selection = Selection(found.under(question.rules))
    if aimed.sellable:
        known = _Known.of(lake, models, question, [front.items.text(int(i)) for i in aimed.item_idx], at)
        for member, why in known.customers(models, found, question, at):
            if selection.is_full:
                break
            if why:
                selection.refuse(why)
            else:
                selection.offer(member, models.attributes(member.customer_idx))
    ago = (at - models.as_of) / DAY_US
    notes = aimed.notes if found.is_probability else (*aimed.notes, NO_PROBABILITIES)
    return AudienceList(
        _frame(selection.listed, "listed", found, ago), _frame(selection.held_out, "held_out", found, ago),
        expected(selection.listed) if found.is_probability else None, dict(selection.left_out),
        notes if aimed.sellable else (*notes, CANNOT_BE_SOLD), model.horizon_days,
    )  # fmt: skip


@dataclass(frozen=True, eq=False, slots=True)
class _Known:
    """What the lake says of customers, under canonical ids."""

    canonical: Mapping[str, str]
    refused: frozenset[str]
    willing: frozenset[str]
    exclude: frozenset[str]
    bought: frozenset[str]

    @classmethod
    def of(cls, lake: Tables, models: Models, question: AudienceQuestion, product_ids: list[str], at: int) -> "_Known":
        canonical = canonical_ids(lake)
        refused = {*refusals(lake)[c.CUSTOMER_ID], *refusals(lake, at)[c.CUSTOMER_ID], *models.refusals.ids.texts}
        words = {} if question.for_analysis else words_of_all(lake, canonical)
        willing = frozenset(who for who, said in words.items() if may_touch(said, MARKETING, question.channel))
        bought: frozenset[str] = frozenset()
        if question.bought_days is not None and at > models.as_of:
            since = max(models.as_of, at - question.bought_days * DAY_US)
            rows = with_canonical_ids(lake.scan("events"), canonical).filter(
                pl.col(c.AT).is_between(since, at, closed="left") & (pl.col(c.KIND) == EventKind.purchase.name)
                & (pl.col(c.ITEM_KIND) == ItemKind.product.name) & pl.col(c.ITEM_ID).is_in(product_ids)
            )  # fmt: skip
            bought = frozenset(rows.select(pl.col(c.CUSTOMER_ID).unique()).collect()[c.CUSTOMER_ID])
        named = frozenset(canonical.get(one, one) for one in question.exclude)
        return cls(canonical, frozenset(refused), willing, named, bought)

    def customers(
        self, models: Models, found: Responses, question: AudienceQuestion, at: int
    ) -> Iterator[tuple[Member, str]]:  # fmt: skip
        """Yield customers, the most likely first, each with what keeps him out; empty: nothing does."""
        ago = (at - models.as_of) / DAY_US
        for idx in found.order.tolist():
            own = models.customers.ids.text(idx)
            if is_nobody(own):
                continue
            who = self.canonical.get(own, own)
            member = Member(idx, who, float(found.score[idx]))
            if who in self.refused:
                yield member, "personalization_off"
            elif not question.for_analysis and who not in self.willing:
                yield member, "no_marketing_consent"
            elif who in self.exclude:
                yield member, "named"
            elif question.bought_days is not None and (
                who in self.bought or found.days_since(idx) + ago <= question.bought_days
            ):
                yield member, "bought_lately"
            else:
                yield member, ""


def _frame(members: list[Member], part: str, found: Responses, ago: float) -> pl.DataFrame:
    whys = [found.reason_for(one.customer_idx, ago) for one in members]
    return pl.DataFrame(
        {
            "rank": range(1, len(members) + 1), "customer_id": [one.customer_id for one in members],
            "probability": [one.probability if found.is_probability else None for one in members],
            "part": [part] * len(members), "reason_code": [why.code for why in whys],
            "reason_zh": [why.zh for why in whys], "reason_en": [why.en for why in whys],
        },
        schema=dict(COLUMNS),
    )  # fmt: skip
