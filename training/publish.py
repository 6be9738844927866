"""Publishing: the release on disk, proved equal to what is in memory, and what a tracker keeps of it."""

import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np
import polars as pl

from features.arrays import Float32s, Int32s
from features.columns import CONTENT_ID, CUSTOMER_ID, PRODUCT_ID
from features.errors import ReleaseError
from features.ids import IdMap
from models.contents.model import ContentModel
from models.release import MANIFEST, Release, write_release
from models.release_store import ReleaseStore
from models.revision import is_nobody
from models.rng import derived_rng
from models.slate import Request, Slate
from models.trained import Models

SMOKE_CUSTOMERS: Final = 20
SMOKE_K: Final = 20


@runtime_checkable
class ProductVectors(Protocol):
    """A source that places products in a space: float32 [n_products, dim]."""

    items: Float32s


@runtime_checkable
class CustomerVectors(Protocol):
    """A source that places customers in a space: float32 [n_customers, dim]."""

    customers: Float32s


def new_release_id(created_at: int) -> str:
    """Name a release by when it was made (UTC µs): `r20260101-120000-000000`."""
    moment = datetime.fromtimestamp(created_at // 1_000_000, UTC)
    return f"r{moment:%Y%m%d-%H%M%S}-{created_at % 1_000_000:06d}"


def publish_release(models: Models, store: ReleaseStore, facts: Mapping[str, Any], seed: int) -> Release:
    """Write a release, load it back and compare its slates with those of the models in memory; it does not serve yet.

    `facts` are those of `models.release.write_release`. A difference is a `ReleaseError`: what would be served is not
    what was trained.
    """
    release = store.publish(str(facts["release_id"]), lambda directory: write_release(models, directory, facts))
    compare_slates(models, release, seed)
    return release


def compare_slates(models: Models, release: Release, seed: int) -> None:
    """Ask models and loaded release the same questions in every scene: some customers and a stranger."""
    n = models.histories.n_customers
    drawn = derived_rng(seed, "smoke test").permutation(n)[:SMOKE_CUSTOMERS]
    seeds = np.arange(min(1, len(models.items)), dtype=np.int32)
    for scene in models.storefront.scenes:
        for customer in (-1, *drawn.tolist()):
            made, loaded = (_slate(m, scene, customer, seeds) for m in (models, release.models))
            if made != loaded:
                raise ReleaseError(
                    f"{release.manifest.release_id} answers scene '{scene}' unlike the models it was written from; "
                    "it was not promoted. Please report this as a bug."
                )


def _slate(models: Models, scene: str, customer: int, seeds: Int32s) -> Slate:
    recipe = models.config.all_scenes.get(scene)
    start_from = recipe.start_from if recipe else "history"
    query = models.query(customer, models.as_of, seeds=seeds if start_from == "seeds" else seeds[:0])
    basket = seeds if start_from == "basket" else seeds[:0]
    return models.storefront.recommend(Request(query, scene, SMOKE_K, basket=basket))


def write_keepsakes(release: Release, directory: Path) -> None:
    """Write what a tracker keeps: the manifest and configuration, and the embeddings with their ids as Parquet."""
    kept = directory / "release"
    kept.mkdir(parents=True, exist_ok=True)
    for name in (MANIFEST, "config.json"):
        (kept / name).write_bytes((release.directory / name).read_bytes())
    embedded = directory / "embeddings"
    embedded.mkdir(exist_ok=True)
    for name, source in release.models.sources.items():
        if isinstance(source, ProductVectors):
            frame = embedding_frame(PRODUCT_ID, release.models.products.ids, source.items)
            frame.write_parquet(embedded / f"{name}_products.parquet")
        if isinstance(source, CustomerVectors):
            frame = embedding_frame(CUSTOMER_ID, release.models.customers.ids, source.customers)
            frame.write_parquet(embedded / f"{name}_customers.parquet")
    contents = release.models.part(ContentModel)
    if len(contents.words):
        frame = embedding_frame(CONTENT_ID, release.models.contents.ids, contents.vectors)
        frame.write_parquet(embedded / "contents.parquet")


def embedding_frame(id_column: str, ids: IdMap, vectors: Float32s) -> pl.DataFrame:
    """Return ids and vectors (float32 [n, dim]) as a table, without the empty places of who was erased."""
    rows = pl.Series("vector", np.ascontiguousarray(vectors), dtype=pl.Array(pl.Float32, vectors.shape[1]))
    frame = pl.DataFrame({id_column: pl.Series(ids.texts, dtype=pl.String), "vector": rows})
    return frame.filter(~pl.Series([is_nobody(text) for text in ids.texts], dtype=pl.Boolean))


def git_sha(directory: Path) -> str:
    """Return the commit of the code that trains, empty outside a repository or without git."""
    try:
        done = subprocess.run(
            ["git", "-C", str(directory), "rev-parse", "HEAD"], capture_output=True, text=True, check=False, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
