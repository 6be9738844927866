"""Profiles of all customers at a moment, as the service would tell them then (`pond profile`)."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from features import columns as c
from features.columns import EVENT_KINDS, ItemKind
from features.consents import refusals
from features.contracts import PROFILES, Tables
from features.erasure import NOBODY_ERASED, Erased
from features.history import EMPTY, History
from features.identities import canonical_ids, with_canonical_ids
from features.trails import NO_TRAIL, Trail, bare_trail
from models.lifecycle.known import about_first, life_of
from models.lifecycle.life import About, Lives
from models.lifecycle.model import LifecycleModel
from models.lifecycle.profile import profiles_of
from models.lifecycle.rules import STRANGER
from models.lifecycle.telling import row_of
from models.revision import is_nobody
from models.trained import NO_TAILS, Models
from training.progress import ProgressReport, Quiet
from training.since import read_tails
from training.workers import answer_all


@dataclass(frozen=True, eq=False, slots=True)
class _Ask:
    customer_id: str
    release: str
    at: int
    person: tuple[int, ...]
    about: About
    tails: Mapping[ItemKind, History] = field(default_factory=lambda: NO_TAILS)
    bare: Trail = NO_TRAIL


def profile_batch(
    models: Models, lake: Tables, release: str, *, as_of: int | None = None, erased: Erased = NOBODY_ERASED,
    workers: int = 2, progress: ProgressReport | None = None,
) -> pl.DataFrame:  # fmt: skip
    """Return a profile for every customer, a row each by customer_id; columns of the table `profiles`.

    A customer is whom the release or, until `as_of` (default: the release's own moment), the lake knows by an event or
    a row of `customers`, if anything of it lies before; the ids of one person are one. Everything is of what lies
    strictly before `as_of`: the release's history cut there, or the lake's events since. What was learned from all
    customers is the release's. Who has refused personalization, by then or since, or was erased is not among them.
    """
    at = models.as_of if as_of is None else as_of
    asks = _asks(models, lake, release, at, erased)
    progress = progress or Quiet()
    with progress.step("profiles", len(asks)) as advance:
        parts = answer_all(models, profile_chunk, asks, workers, advance)
    return pl.concat([PROFILES.empty(), *parts])


def profile_chunk(models: Models, asks: Sequence[_Ask]) -> pl.DataFrame:
    """Profile some customers of one moment (run in worker processes)."""
    lives, part = [], models.part(LifecycleModel)
    for ask in asks:
        lead, also = (ask.person[0], ask.person[1:]) if ask.person else (-1, ())
        query = models.query(lead, ask.at, ask.tails.get(ItemKind.product, EMPTY), also=also, others=ask.tails)
        lives.append(life_of(part, models.histories, query, ask.about, ask.bare))
    found = profiles_of(part, Lives.of(lives), asks[0].at)
    # A release knows ids that came only after an earlier moment: of strangers there is nothing to say.
    rows = [
        row_of(ask.customer_id, ask.release, one) for ask, one in zip(asks, found, strict=True) if one.stage != STRANGER
    ]
    return pl.DataFrame(rows, schema=PROFILES.schema)


def left_out(lake: Tables, erased: Erased, ids: Collection[str]) -> set[str]:
    """Return those of some ids who have no profile: their last word on personalization is no, or they were erased."""
    refused = {*refusals(lake)[c.CUSTOMER_ID]}
    canonical = canonical_ids(lake)
    return {one for one in ids if canonical.get(one, one) in refused} | {*erased.among(ids)}


def _asks(models: Models, lake: Tables, release: str, at: int, erased: Erased) -> list[_Ask]:
    canonical, is_later = canonical_ids(lake), at > models.as_of
    refused_then = {*refusals(lake, at)[c.CUSTOMER_ID]}
    told = _customer_rows(lake, at, canonical)
    trained = {canonical.get(one, one) for one in models.customers.ids.texts if not is_nobody(one)}
    bare = _bare_tails(lake, models.as_of, at, canonical) if is_later else {}
    later = _who_came(lake, models.as_of, at, canonical) if is_later else set()
    everybody = trained | told.keys() | later
    names = sorted(everybody - refused_then - left_out(lake, erased, everybody))
    tails = read_tails(lake, models, names, at, canonical) if is_later else {}
    ids = defaultdict(list, {name: [name] for name in names})
    for other, name in canonical.items():
        ids[name].append(other)
    asks = []
    for name in names:
        person = models.person(ids[name])
        about = told[name] if name in told else about_first([models.customer_row(idx) for idx in person])
        asks.append(_Ask(name, release, at, person, about, tails.get(name, NO_TAILS), bare.get(name, NO_TRAIL)))
    return asks


def _customer_rows(lake: Tables, at: int, canonical: Mapping[str, str]) -> dict[str, About]:
    """Return what the shop told of each customer by then: last under his own id, else under another of his."""
    rows = lake.scan("customers").with_columns(pl.col(c.VALID_FROM).fill_null(0)).filter(pl.col(c.VALID_FROM) < at)
    own = rows.with_columns(own=~pl.col(c.CUSTOMER_ID).is_in(list(canonical)))
    last = (
        with_canonical_ids(own, canonical).sort("own", c.VALID_FROM, maintain_order=True)
        .unique(c.CUSTOMER_ID, keep="last", maintain_order=True).collect()
    )  # fmt: skip
    return {row[c.CUSTOMER_ID]: About.of(row) for row in last.to_dicts()}


def _since(lake: Tables, since: int, until: int, canonical: Mapping[str, str]) -> pl.LazyFrame:
    rows = with_canonical_ids(lake.scan("events"), canonical)
    return rows.filter(pl.col(c.AT).is_between(since, until, closed="left"))


def _who_came(lake: Tables, since: int, until: int, canonical: Mapping[str, str]) -> set[str]:
    rows = _since(lake, since, until, canonical).select(c.CUSTOMER_ID).unique().collect()
    return {*rows[c.CUSTOMER_ID].to_list()}


def _bare_tails(lake: Tables, since: int, until: int, canonical: Mapping[str, str]) -> dict[str, Trail]:
    """Return the events about no item between two moments, by customer."""
    code = {name: number for number, name in enumerate(EVENT_KINDS)}
    rows = _since(lake, since, until, canonical).filter(pl.col(c.ITEM_ID).is_null())
    found: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for who, at, kind in rows.select(c.CUSTOMER_ID, c.AT, c.KIND).collect().iter_rows():
        found[who].append((at, code[kind]))
    return {who: bare_trail(told) for who, told in found.items()}
