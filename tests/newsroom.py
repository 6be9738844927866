"""A toy newsroom: two tastes of readers, a piece for each taste every day, and everything that may be asked of it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from features.dataset import Dataset
from models.config import validated_pipeline_config
from models.contents.config import ContentConfig
from models.contents.lessons import learn_lessons
from models.contents.model import ContentModel, fit_contents
from models.contents.present import Present
from models.contents.pulse import Pulse
from models.contents.signals import SIGNALS
from models.contents.taste import Taste
from models.contents.wishes import ContentWishes
from models.items import ItemTable
from models.rank.ranker import grow_forests
from models.slate import Request, Slate
from models.trained import NO_TAILS, Models
from tests.worlds import START, day, world

HOUR: Final = 1 / 24
TASTES: Final = ("tea", "silk")
DAYS: Final = 20
READERS: Final = 15
WORDS: Final = {"tea": "how to brew green tea 绿茶 冲泡", "silk": "caring for silk dresses 真丝 护理"}


def pieces(days: int = DAYS, **more: Any) -> list[dict[str, Any]]:
    """A piece of each taste every day at eight, told of from day 0."""
    return [
        {
            "content_id": f"{taste}-{n:02d}", "form": "article", "title": f"{WORDS[taste]} {n}",
            "published_at": day(n + 8 * HOUR),
        } | more
        for n in range(days) for taste in TASTES
    ]  # fmt: skip


def readings(days: int = DAYS, readers: int = READERS) -> list[tuple[Any, ...]]:
    """Everybody reads the pieces of the own taste, some soon and some late; the rows of `worlds.events`."""
    rows = [
        (f"{taste}-fan-{who:02d}", f"content:{taste}-{n:02d}", n + (9 + (5 * who + n) % 12) * HOUR, "view")
        for n in range(days) for taste in TASTES for who in range(readers)
    ]  # fmt: skip
    return sorted(rows, key=lambda row: row[2])


def newsroom(
    *,
    contents: Iterable[Mapping[str, Any]] = (),
    what: Iterable[Sequence[Any]] = (),
    as_of: float = DAYS,
    **tables: Any,
) -> Dataset:
    """Build the newsroom as it was on a day, with some contents and events more."""
    rows = [row for row in (*readings(), *what) if day(row[2]) < day(as_of)]
    return world(rows, contents=[*pieces(), *contents], as_of=as_of, **tables)


def trained(dataset: Dataset, config: ContentConfig | None = None) -> Models:
    """Fit contents alone on a dataset."""
    part = fit_contents(dataset, {}, config or ContentConfig(), np.random.default_rng(0))
    return replace(Models.of(dataset, validated_pipeline_config({}, "test"), {}), parts={"contents": part})


def with_forests(models: Models, dataset: Dataset) -> Models:
    """Return the models with an order learned from the dataset, whether or not it is worth having there."""
    part = models.part(ContentModel)
    items, table = ItemTable.of(dataset.products), models.storefront.contents.table
    silent = Taste.none(len(dataset.customers)), Pulse.silent(len(table), 0)
    present = Present.of(table, part.wording, part.words, *silent)
    lessons = learn_lessons(dataset, present, items, part.config, 0)
    forests = grow_forests(lessons.rows(), SIGNALS, part.config.ranker, 0)
    return replace(models, parts={"contents": replace(part, forests=forests)})


def late_readers() -> Dataset:
    """Twenty pieces a day, of which everybody reads one of the day before: freshness alone is wrong here."""
    contents = [
        {"content_id": f"p{n:02d}-{i:02d}", "published_at": day(n + 8 * HOUR)} for n in range(DAYS) for i in range(20)
    ]
    what = [
        (f"late-{who:02d}", f"content:p{n - 1:02d}-{who % 20:02d}", n + (9 + who % 12) * HOUR, "view")
        for n in range(1, DAYS) for who in range(30)
    ]  # fmt: skip
    return world(sorted(what, key=lambda row: row[2]), contents=contents, as_of=DAYS)


def asked(models: Models, customer: str = "", k: int = 5, *, at: float | None = None, **more: Any) -> Slate:
    """Ask for contents on a day; `forms`, `again` are wishes, `channel` and `changes` (rows) what they say."""
    moment = models.as_of if at is None else day(at)
    wishes = ContentWishes(tuple(more.pop("forms", ())), bool(more.pop("again", False)))
    channel, changes, others = more.pop("channel", ""), more.pop("changes", ()), more.pop("others", NO_TAILS)
    front = models.storefront
    if changes:
        front = replace(front, contents=front.contents.with_changes(changes))
    query = replace(models.query(models.customers.ids.idx(customer), moment, others=others), channel=channel)
    return front.recommend(Request(query, "content", k, content=wishes, **more))


def ids(models: Models, slate: Slate, changes: Sequence[Mapping[str, Any]] = ()) -> list[str]:
    """External ids of a slate; `changes` as they were asked with."""
    shelf = models.storefront.contents
    shelf = shelf.with_changes(changes) if changes else shelf
    return [shelf.ids.text(pick.item_idx) for pick in slate.picks]


def piece(content_id: str, at: float = DAYS - HOUR, **more: Any) -> dict[str, Any]:
    """One more content, published on a day; moments in `more` are days too."""
    moments = {name: day(more[name]) for name in ("starts_at", "expires_at") if name in more}
    return {"content_id": content_id, "published_at": day(at), "valid_from": START} | more | moments
