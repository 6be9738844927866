"""Batch recommendations: the same pipeline as the service, for a file of customers (DESIGN §7)."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from features import columns as c
from features.columns import ItemKind
from features.consents import refusals
from features.contracts import Tables
from features.durable import storage_errors
from features.errors import ContractError, UnreadableFile, UsageError
from features.history import EMPTY, Histories, History
from features.identities import canonical_ids
from features.ingest.times import TimeReader
from models.bundles.wishes import BundleDetails, BundleWishes
from models.contents.pulse import Readings
from models.revision import is_nobody
from models.rules import NO_RULES, RuleBook
from models.slate import NO_BUNDLE_WISHES, Request, Slate
from models.storefront import Storefront, kind_of
from models.trained import NO_TAILS, Models
from training.passing import NO_READINGS, PassingStorefront
from training.progress import ProgressReport, Quiet
from training.since import Change, read_changes, read_readings, read_tails, storefront_after
from training.workers import answer_all

COLUMNS: Final[Mapping[str, pl.DataType]] = {
    "query_id": pl.String(), "customer_id": pl.String(), "rank": pl.Int32(), "item_kind": pl.String(),
    "item_id": pl.String(), "score": pl.Float32(), "stage": pl.String(), "reason_code": pl.String(),
    "reason_zh": pl.String(), "reason_en": pl.String(),
}  # fmt: skip
INPUT_COLUMNS: Final = ("query_id", "customer_id", "at", "basket")
BUNDLE_COLUMNS: Final[Mapping[str, pl.DataType]] = {
    "parts": pl.List(pl.String), "price": pl.Float64(), "saving": pl.Float64(), "margin": pl.Float64(),
    "evidence": pl.String(),
}  # fmt: skip
FORMATS: Final = (".parquet", ".csv", ".jsonl")
FORMULA_STARTS: Final = r"^[=+\-@\t\r]"


@dataclass(frozen=True, slots=True)
class CustomerRow:
    """One row to answer.

    Attributes
    ----------
    query_id : str or None
        Named in the answer when given.
    at : int or None
        The moment of the visit, UTC µs; None: the release's `as_of`.
    basket : tuple of str
        Item ids in the basket now: where scenes such as `cart` and `similar` start; never shown.
    """

    customer_id: str
    query_id: str | None = None
    at: int | None = None
    basket: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False, slots=True)
class Answers:
    """What a batch was answered, and what went less well than it should have.

    Attributes
    ----------
    frame : DataFrame
        Columns `COLUMNS`.
    n_degraded : int
        Answers that lack anything.
    causes : Counter
        How many answers lack it, by what they lack.
    """

    frame: pl.DataFrame
    n_degraded: int
    causes: Counter[str]


@dataclass(frozen=True, eq=False, slots=True)
class _Ask:
    row: CustomerRow
    scene: str
    k: int
    at: int
    person: tuple[int, ...]
    tails: Mapping[ItemKind, History] = field(default_factory=dict)
    changes: Sequence[Change] = ()
    readings: Readings = NO_READINGS
    low_stock: float = 0.0
    rules: RuleBook = NO_RULES
    bundle: BundleWishes = NO_BUNDLE_WISHES


def read_customers(source: Path | str, models: Models) -> list[CustomerRow]:
    """Read whom to answer: `all` customers of a release, one id a line, or CSV or Parquet with named columns.

    Columns: customer_id (required), query_id, at (ISO 8601 or a number since 1970, one unit a file; naive times are the
    shop's), basket (a list; in CSV ids separated by `|`). Other columns are a `ContractError`: a typing mistake in a
    name would otherwise answer another question.
    """
    if str(source) == "all":
        return [CustomerRow(text) for text in models.customers.ids if not is_nobody(text)]
    path = Path(source)
    frame = _frame(path)
    unknown = [name for name in frame.columns if name not in INPUT_COLUMNS]
    if unknown or c.CUSTOMER_ID not in frame.columns:
        raise ContractError(
            str(path), unknown[0] if unknown else c.CUSTOMER_ID,
            f"columns may be {', '.join(INPUT_COLUMNS)}, and customer_id is required; rename or remove the others.",
        )  # fmt: skip
    missing = frame[c.CUSTOMER_ID].is_null() | (frame[c.CUSTOMER_ID].cast(pl.String) == "")
    if missing.any():
        lines = tuple(str(i + 1) for i in missing.arg_true().head(3).to_list())
        raise ContractError(
            str(path), c.CUSTOMER_ID, "is missing; give every row a customer", int(missing.sum()), lines
        )
    n = len(frame)
    query_ids = frame["query_id"].cast(pl.String).to_list() if "query_id" in frame.columns else [None] * n
    moments = _moments(path, frame["at"], models.timezone) if "at" in frame.columns else [None] * n
    baskets = _baskets(path, frame["basket"]) if "basket" in frame.columns else [()] * n
    who = frame[c.CUSTOMER_ID].cast(pl.String).to_list()
    return [CustomerRow(*row) for row in zip(who, query_ids, moments, baskets, strict=True)]


def _frame(path: Path) -> pl.DataFrame:
    try:
        if path.suffix == ".parquet":
            return pl.read_parquet(path)
        text = path.read_text("utf-8-sig")
        header = text.partition("\n")[0]
        if header.strip().strip('"') == c.CUSTOMER_ID or "," in header:  # an id may contain the name
            return pl.read_csv(text.encode(), infer_schema=False)
    except FileNotFoundError as error:
        raise UsageError(f"There is no file {path}; give a file of customers, or all.") from error
    except UnicodeDecodeError as error:
        raise UnreadableFile(str(path), "is not UTF-8; save it as UTF-8.") from error
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = str(error).splitlines()[0]
        raise UnreadableFile(str(path), f"cannot be read as its name says ({reason}).") from error
    ids = [line.strip() for line in text.splitlines() if line.strip()]
    if not ids:
        raise UnreadableFile(str(path), "is empty; give one customer id a line, or all.")
    return pl.DataFrame({c.CUSTOMER_ID: ids}, schema={c.CUSTOMER_ID: pl.String})


def _moments(path: Path, cells: pl.Series, timezone: str) -> list[int | None]:
    at, reasons = TimeReader(timezone).read(str(path), "at", cells)
    bad = reasons.is_not_null()
    if bad.any():
        row = int(bad.arg_true()[0])
        raise ContractError(str(path), "at", str(reasons[row]), int(bad.sum()), (str(cells[row]),))
    return at.to_list()


def _baskets(path: Path, cells: pl.Series) -> list[tuple[str, ...]]:
    if cells.dtype == pl.String:
        return [tuple(part for part in text.split("|") if part) if text else () for text in cells.to_list()]
    if isinstance(cells.dtype, pl.List):
        return [tuple(items) if items is not None else () for items in cells.cast(pl.List(pl.String)).to_list()]
    raise ContractError(str(path), "basket", f"holds {cells.dtype}; give a list of item ids or text separated by |.")


def recommend_batch(
    models: Models, rows: Sequence[CustomerRow], scene: str, k: int, *, as_of: int | None = None,
    lake: Tables | None = None, low_stock: float = 0.0, workers: int = 2, progress: ProgressReport | None = None,
    bundle: BundleWishes = NO_BUNDLE_WISHES, rules: RuleBook = NO_RULES,
) -> Answers:  # fmt: skip
    """Answer rows in one scene; columns as `COLUMNS` (query_id only when some row has one), in the order of the rows.

    A scene of bundles obeys the wishes `bundle` and adds `BUNDLE_COLUMNS`.

    Each row is answered from what lies strictly before its `at` (default `as_of`, default the release's own): the
    release's history cut there and, with a `lake`, the customer's events and the catalogue's changes between the
    release and that moment. The models themselves are the release's. Who refused personalization, by then or since, is
    answered as a stranger; any id of a person is answered from the history of all of them. Products with `low_stock` in
    stock or less are not shown; the operators' `rules` hold as at each row's moment.
    In data without order every event stands at one moment and nothing lies before it: a row asked at that very moment
    is answered from all of it.
    """
    if scene not in models.storefront.scenes:
        known = ", ".join(models.storefront.scenes)
        raise UsageError(f"There is no scene '{scene}'; known are {known}.")
    if k < 1:
        raise UsageError(f"k is {k}; ask for at least one item.")
    moment = models.as_of if as_of is None else as_of
    only = the_only_moment(models.histories)
    who = {row.customer_id: models.person([row.customer_id]) for row in rows}
    asks = [
        _Ask(row, scene, k, moment if row.at is None else row.at + (row.at == only), who[row.customer_id],
             low_stock=low_stock, rules=rules, bundle=bundle)
        for row in rows
    ]  # fmt: skip
    progress = progress or Quiet()
    if lake is not None:
        asks = _as_known(models, asks, lake)
    with progress.step(f"recommend {scene}", len(asks)) as advance:
        parts = answer_all(models, recommend_chunk, asks, workers, advance)
    frame = pl.concat([pl.DataFrame(schema=_columns_of(scene)), *(part.frame for part in parts)])
    return Answers(
        frame if any(row.query_id is not None for row in rows) else frame.drop("query_id"),
        sum(part.n_degraded for part in parts), sum((part.causes for part in parts), Counter()),
    )  # fmt: skip


def the_only_moment(histories: Histories) -> int | None:
    """Return the moment at which all events stand when they have no order in time, else None."""
    return int(histories.at[0]) if len(histories) and int(histories.at.min()) == int(histories.at.max()) else None


def recommend_chunk(models: Models, asks: Sequence[_Ask]) -> Answers:
    """Answer some rows (run in worker processes)."""
    columns = _columns_of(asks[0].scene) if asks else dict(COLUMNS)
    parts: dict[str, list[Any]] = {name: [] for name in columns}
    n_degraded, causes = 0, Counter[str]()
    answers: dict[int, tuple[Storefront, Slate]] = {}
    passing: PassingStorefront | None = None
    for number in sorted(range(len(asks)), key=lambda i: asks[i].at):
        ask = asks[number]  # all asks of a batch share scene, changes and readings
        passing = passing or PassingStorefront(models, ask.changes, ask.readings, ask.scene, ask.low_stock, ask.rules)
        front = passing.at(ask.at)
        answers[number] = front, front.recommend(_request(models, ask, front))
    for number, ask in enumerate(asks):
        front, slate = answers[number]
        n_degraded += bool(slate.causes)
        causes.update(slate.causes)
        for rank, pick in enumerate(slate.picks, start=1):
            row = (
                ask.row.query_id, ask.row.customer_id, rank, pick.kind.name, front.text(pick),
                pick.score, pick.stage, pick.reason.code, pick.reason.zh, pick.reason.en,
                *(() if pick.bundle is None else _bundle_cells(pick.bundle, front)),
            )  # fmt: skip
            for values, value in zip(parts.values(), row, strict=True):
                values.append(value)
    return Answers(pl.DataFrame(parts, schema=columns), n_degraded, causes)


def _columns_of(scene: str) -> dict[str, pl.DataType]:
    return {**COLUMNS, **(BUNDLE_COLUMNS if kind_of(scene) is ItemKind.bundle else {})}


def _bundle_cells(bundle: BundleDetails, front: Storefront) -> tuple[Any, ...]:
    parts = [front.items.text(i) for i in bundle.parts]
    return parts, bundle.price, bundle.saving, bundle.margin, json.dumps(dict(bundle.evidence))


def _request(models: Models, ask: _Ask, front: Storefront) -> Request:
    start, recipe = front.items.idxs(ask.row.basket), models.config.all_scenes.get(ask.scene)
    seeds = start if recipe is not None and recipe.start_from == "seeds" else start[:0]
    lead, also = (ask.person[0], ask.person[1:]) if ask.person else (-1, ())
    tails = {kind: _known_to(front, kind, tail) for kind, tail in ask.tails.items()}
    query = models.query(lead, ask.at, tails.get(ItemKind.product, EMPTY), seeds, also, tails)
    return Request(query, ask.scene, ask.k, basket=start, bundle=ask.bundle)


def _known_to(front: Storefront, kind: ItemKind, tail: History) -> History:
    """Return a tail in which items that came only after the question are unknown."""
    return replace(tail, item_idx=np.where(tail.item_idx < len(front.ids(kind)), tail.item_idx, -1).astype(np.int32))


def _as_known(models: Models, asks: Sequence[_Ask], lake: Tables) -> list[_Ask]:
    """Join the ids of each person, make strangers of who refused, and give each row what happened since the release."""
    last = max((ask.at for ask in asks), default=0)
    canonical = canonical_ids(lake)
    refused = {*refusals(lake)[c.CUSTOMER_ID], *refusals(lake, last)[c.CUSTOMER_ID]}
    wanted = {canonical.get(ask.row.customer_id, ask.row.customer_id) for ask in asks} - refused
    ids: dict[str, list[str]] = {name: [name] for name in wanted}
    for other, name in canonical.items():
        if name in ids:
            ids[name].append(other)
    is_later = last > models.as_of
    changes = read_changes(lake, models.as_of, last) if is_later else ()
    front = storefront_after(models, changes, 0.0)
    tails = read_tails(lake, models, sorted(wanted), last, canonical, front) if is_later else {}
    is_content = is_later and any(kind_of(ask.scene) is ItemKind.content for ask in asks)
    readings = read_readings(lake, models, last, front, canonical) if is_content else NO_READINGS
    known = []
    for ask in asks:
        name = canonical.get(ask.row.customer_id, ask.row.customer_id)
        his = tails.get(name, NO_TAILS) if ask.at > models.as_of else NO_TAILS
        known.append(
            replace(ask, person=models.person(ids.get(name, ())), tails=his, changes=changes, readings=readings)
        )
    return known


def write_recommendations(frame: pl.DataFrame, path: Path) -> None:
    """Write Parquet, CSV or JSON lines by the extension; the file appears whole or not at all.

    In CSV, texts that a spreadsheet would run as a formula (starting with = + - @) get a `'` before them, and lists are
    texts separated by `|`.
    """
    check_output(path)
    writing = path.with_name(f".{path.name}.writing")
    try:
        with storage_errors(path):
            if path.suffix == ".parquet":
                frame.write_parquet(writing)
            elif path.suffix == ".csv":
                _flat(frame).write_csv(writing)
            else:
                frame.write_ndjson(writing)
            writing.replace(path)
    finally:
        writing.unlink(missing_ok=True)


def check_output(path: Path) -> None:
    """Refuse a file that could not be written, before the work is done."""
    if path.suffix not in FORMATS:
        raise UsageError(f"{path.name}: the extension says the format; use one of {', '.join(FORMATS)}.")
    if not path.parent.is_dir():
        raise UsageError(f"There is no directory {path.parent}; create it first.")


def _flat(frame: pl.DataFrame) -> pl.DataFrame:
    joined = frame.with_columns(pl.col(pl.List(pl.String)).list.join("|"))
    return joined.with_columns(pl.col(pl.String).str.replace(f"({FORMULA_STARTS})", "'$1"))
