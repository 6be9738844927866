"""Revisions: the same models without somebody who was erased on request.

The person's id, attributes, history and every row about him alone are gone; all others keep their indexes, histories
and rows to the bit. What was only counted over all customers (how often a product is bought, which follows which) stays
as it was fitted: nobody can be read back from it. Where customers vote for each other by likeness (`userknn`,
`next_basket`) his vote is gone, as if he had never been among the neighbours.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

import numpy as np
import polars as pl

from features.attributes import attributes_of
from features.columns import EventKind, ItemKind
from features.ids import IdMap
from features.person import Person
from models.forgetting import Gone
from models.release import load_release, read_manifest, write_release
from models.release_store import DirectoryStore
from models.seams import Forgetting, ForgettingPart
from models.trained import EntityTable, Models

NOBODY: Final = "\0"  # how the empty places of those who are gone begin: no id holds this character
_REVISION: Final = re.compile(r"-e\d+$")
FACTS: Final = (
    "shop", "created_at", "watermarks", "dataset_digest", "git_sha", "metrics", "gates",
)  # fmt: skip


def is_nobody(customer_id: str) -> bool:
    """Whether an id of a release is the empty place of somebody who was erased."""
    return customer_id.startswith(NOBODY)


def without(models: Models, ids: Iterable[str]) -> Models:
    """Return the models without some customers; the same object when they know and mention none of them."""
    person = Person.of(ids)
    customers = models.customers
    gone = sorted(idx for idx in map(customers.ids.idx, person.ids) if idx >= 0)
    frame = person.unnamed(customers.frame)
    refusals = models.refusals.without(person.ids)
    if not gone and frame.equals(customers.frame) and refusals is models.refusals:
        return models
    idx = np.array(gone, np.int32)
    frame = _emptied(frame, gone)
    texts = list(customers.ids.texts)
    for one in gone:
        texts[one] = f"{NOBODY}{one}"
    # Also values by which others named him.
    only = Gone(idx, _attributes_of(customers.frame) - _attributes_of(frame))
    histories = models.histories
    return replace(
        models, customers=EntityTable(IdMap.of(texts), frame), refusals=refusals,
        histories=histories.where(~np.isin(histories.customer_idx, idx)),
        sources={
            name: source.without(only) if isinstance(source, Forgetting) else source
            for name, source in models.sources.items()
        },
        other_histories={
            kind: known.where(~np.isin(known.customer_idx, idx)) for kind, known in models.other_histories.items()
        },
        parts={
            name: part.without(only) if isinstance(part, ForgettingPart) else part
            for name, part in models.parts.items()
        },
    )  # fmt: skip


def revise(store: DirectoryStore, release_id: str, ids: Iterable[str]) -> str | None:
    """Write a revision of a release without some customers, let it take the release's place, and return its id.

    None when the release does not know them. The old release stays on disk until `DirectoryStore.remove`.
    """
    # Its manifest and models, not the release: who holds that keeps it from being removed.
    directory = store.root / release_id
    manifest, models = read_manifest(directory), load_release(directory).models
    clean = without(models, ids)
    if clean is models:
        return None
    revision = _free_name(store, release_id)
    facts = {name: getattr(manifest, name) for name in FACTS} | {
        "counts": _counted(manifest.counts, clean), "release_id": revision, "revision_of": release_id,
    }  # fmt: skip
    store.publish(revision, lambda at: write_release(clean, at, facts))
    store.supersede(release_id, revision)
    return revision


def resume(store: DirectoryStore) -> set[str]:
    """Let the revisions there are take their releases' places, and return the releases that have one.

    An erasure that was interrupted between writing a revision and removing the release leaves both; a second revision
    of the same release would be one too many.
    """
    there = {manifest.release_id: manifest.revision_of for manifest in store.list()}
    replaced = [one for one in sorted(there, key=_number) if there[one] in there]
    for revision in replaced:
        store.supersede(there[revision], revision)
    return {there[revision] for revision in replaced}


def _number(revision: str) -> int:
    """Return a revision's number, 0 for a release as it was trained."""
    found = _REVISION.search(revision)
    return int(found[0][2:]) if found else 0


def _counted(before: Mapping[str, int], clean: Models) -> dict[str, int]:
    """Return the counts of a manifest as they are without those who are gone.

    How many events with contents and bundles were his, a release made before it kept them cannot say: those go.
    """
    now = {
        "customers": sum(not is_nobody(text) for text in clean.customers.ids), "product_events": len(clean.histories),
        "purchases": int((clean.histories.kind == EventKind.purchase).sum()),
    } | {f"{kind.name}_events": len(histories) for kind, histories in clean.other_histories.items()}  # fmt: skip
    unknown = {f"{kind.name}_events" for kind in ItemKind} - now.keys()
    return {name: now.get(name, count) for name, count in before.items() if name not in unknown}


def _free_name(store: DirectoryStore, release_id: str) -> str:
    # Above every revision there is: a name that was free again would make two releases revisions of each other.
    stem = _REVISION.sub("", release_id)
    numbers = [_number(path.name) for path in store.root.iterdir() if _REVISION.sub("", path.name) == stem]
    return f"{stem}-e{1 + max(numbers, default=0)}"


def _emptied(frame: pl.DataFrame, rows: list[int]) -> pl.DataFrame:
    is_gone = pl.col("idx").is_in(rows)
    return frame.with_columns(
        pl.when(is_gone).then(None).otherwise(pl.col(name)).alias(name) for name in frame.columns if name != "idx"
    )


def _attributes_of(frame: pl.DataFrame) -> frozenset[tuple[str, str]]:
    if "attributes" not in frame.columns:
        return frozenset()
    texts = frame["attributes"]
    return frozenset(pair for text in texts.drop_nulls().to_list() for pair in attributes_of(text).items())
