"""Everything about a person in one archive: JSON that he can read, a file for each place where something is kept."""

import asyncio
import io
import json
import zipfile
from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np
import polars as pl
import scipy.sparse as sp

from features import columns as c
from features.columns import EVENT_KINDS
from features.contracts import TABLES
from features.person import REFERENCES, Person
from features.scrub import files_below
from models.lifecycle.model import LifecycleModel
from models.release import load_release
from models.trained import Models
from service.erasure import Erasing, knows, person_of
from service.live_erasure import live_record, mentions
from service.problems import Erased, NotKept
from service.schemas import iso
from service.tail import decode_rows

README: Final = """这个压缩包里是店铺"{shop}"保存的关于一位顾客的全部数据。
Everything the shop "{shop}" keeps about one customer.

ids.json          这位顾客的所有编号  all ids of this customer
<table>.jsonl     数据表中属于他的记录  his rows of the shop's tables, one a line (times: UTC microseconds)
live.json         实时状态：最近行为、画像、授权  live state: recent events, profile, consents
releases.jsonl    各模型版本对他的了解  what each trained release knows of him
embeddings.jsonl  训练时保存的向量（MLflow 中的副本与此相同）  vectors kept by training, as in MLflow
rejects.jsonl     未能导入、但提到他的行  rows that could not be read in but name him
named_by.json     有多少顾客把他列为邀请人或导购  how many customers name him as inviter or advisor
"""


async def export_archive(erasing: Erasing, customer_id: str) -> bytes:
    """Return a zip archive of everything that is kept of a person.

    Raises
    ------
    Erased, NotKept
        He was erased, or nothing is known of him.
    """
    if customer_id in await asyncio.to_thread(lambda: erasing.erased):
        raise Erased
    ids = await person_of(erasing, customer_id)
    if not await knows(erasing, ids):
        raise NotKept("customer")
    person, name = Person.of(ids), erasing.shop.name
    waiting = [m.entry async for m in mentions(erasing.state, name, person) if m.is_own]
    live = {one: await _live(erasing, one) for one in ids}
    return await asyncio.to_thread(_archive, erasing, person, ids, waiting, live)


async def _live(erasing: Erasing, customer_id: str) -> dict[str, Any]:
    found = await live_record(erasing.state, erasing.shop.name, customer_id)
    rows = {
        lane: [
            {
                "at": iso(row.at), "kind": row.kind.name, "item_kind": row.item_kind.name, "item_id": row.item_id,
                "event_id": row.event_id, "order_id": row.order_id,
            }
            for row in decode_rows(data)
        ]
        for lane, data in (("recent", found.tail), ("seen", found.exposures))
    }  # fmt: skip
    return {"fields": dict(found.fields)} | rows


def _archive(erasing: Erasing, person: Person, ids: list[str], waiting: list[Any], live: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("README.txt", README.format(shop=erasing.shop.name))
        archive.writestr("ids.json", _json(ids))
        for table in TABLES:
            rows = _rows(erasing, table, person)
            known = {_row_text(table, row) for row in rows}
            fresh = [dict(e.row) for e in waiting if e.type.value == table]
            rows += [row for row in fresh if _row_text(table, row) not in known]
            _lines(archive, f"{table}.jsonl", rows)
        archive.writestr("live.json", _json(live))
        _lines(archive, "releases.jsonl", _releases(erasing, ids))
        _lines(archive, "embeddings.jsonl", _embeddings(erasing, person))
        _lines(archive, "rejects.jsonl", _rejects(erasing, person))
        archive.writestr("named_by.json", _json(_named_by(erasing, person)))
    return buffer.getvalue()


def _rows(erasing: Erasing, table: str, person: Person) -> list[dict[str, Any]]:
    rows = erasing.lake.scan(table)
    return rows.filter(person.own(rows)).collect().to_dicts()


def _row_text(table: str, row: Mapping[str, Any]) -> str:
    return _json({name: value for name, value in row.items() if value is not None}) + table


def _releases(erasing: Erasing, ids: Iterable[str]) -> Iterable[dict[str, Any]]:
    current = erasing.store.current_id()
    for manifest in erasing.store.list():
        models = load_release(erasing.store.root / manifest.release_id).models
        for one in ids:
            idx = models.customers.ids.idx(one)
            if idx >= 0:
                serves = manifest.release_id == current
                yield {"release": manifest.release_id, "serves": serves, c.CUSTOMER_ID: one} | _known(models, idx)


def _known(models: Models, idx: int) -> dict[str, Any]:
    history, texts = models.histories.of(idx), models.products.ids
    events = [
        {
            "at": iso(int(history.at[n])), "kind": EVENT_KINDS[int(history.kind[n])],
            "item_id": texts.text(int(history.item_idx[n])), "quantity": float(history.quantity[n]),
            "price": None if np.isnan(history.price[n]) else float(history.price[n]),
        }
        for n in range(len(history))
    ]  # fmt: skip
    profile = {k: v for k, v in models.customers.frame.row(idx, named=True).items() if v is not None and k != "idx"}
    return {
        "profile": profile, "history": events, "trail": _trail(models, idx), "models": dict(_fitted(models, idx)),
    }  # fmt: skip


def _trail(models: Models, idx: int) -> list[dict[str, Any]]:
    """Return the events that the release keeps of him for his profile: by which channel he came, or about no item."""
    trails = models.part(LifecycleModel).trails
    mine = trails.of(idx)
    return [
        {"at": iso(int(at)), "kind": EVENT_KINDS[int(kind)], "channel": trails.channels[code] if code >= 0 else None}
        for at, kind, code in zip(mine.at, mine.kind, mine.channel, strict=True)
    ]


def _fitted(models: Models, idx: int) -> Iterable[tuple[str, Any]]:
    """Yield what sources hold of one customer alone: his vector, or his weights by product."""
    n_customers = len(models.customers.ids)
    for name, source in models.sources.items():
        for field, part in vars(source).items():
            if isinstance(part, sp.csr_array) and part.shape == (n_customers, len(models.products.ids)):
                row = part[[idx]]
                items = [models.products.ids.text(int(i)) for i in row.indices]
                yield f"{name}.{field}", dict(zip(items, row.data.tolist(), strict=True))
            elif field == "customers" and isinstance(part, np.ndarray):
                yield f"{name}.{field}", part[idx].tolist()


def _embeddings(erasing: Erasing, person: Person) -> Iterable[dict[str, Any]]:
    for path in files_below(erasing.shop.root / "runs"):
        if path.suffix == ".parquet":
            rows = pl.scan_parquet(path)
            for row in rows.filter(person.own(rows)).collect().to_dicts():
                yield {"file": str(path.relative_to(erasing.shop.root))} | row


def _rejects(erasing: Erasing, person: Person) -> Iterable[dict[str, Any]]:
    for path in files_below(erasing.shop.rejects_dir):
        for line in path.read_bytes().decode("utf-8", "replace").splitlines():
            if person.pattern.search(line):
                yield {"file": path.name, "line": line}


def _named_by(erasing: Erasing, person: Person) -> dict[str, int]:
    rows, wanted = erasing.lake.scan("customers"), list(person.ids)
    return {name: rows.filter(pl.col(name).is_in(wanted)).collect()[c.CUSTOMER_ID].n_unique() for name in REFERENCES}


def _lines(archive: zipfile.ZipFile, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
    archive.writestr(name, "".join(f"{_json(row)}\n" for row in rows))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)
