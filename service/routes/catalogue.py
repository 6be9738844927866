"""Products, contents and bundles, as they change."""

from typing import Final

from fastapi import APIRouter

from features.columns import ItemKind
from service.access import AnyWorker, Backend
from service.addressing import IdRoute
from service.problems import RESPONSES
from service.records import (
    BundleBatch,
    BundleIn,
    ContentBatch,
    ContentIn,
    ProductBatch,
    ProductIn,
    RecordOut,
    Stored,
)  # fmt: skip
from service.schemas import Id, Problem

router: Final = APIRouter(
    route_class=IdRoute,
    prefix="/v1",
    tags=["catalogue"],
    responses=RESPONSES | {404: {"model": Problem, "description": "Not known."}},
)


@router.post("/products/batch", summary="Up to 1,000 products as they are from now on")
async def put_products(sent: ProductBatch, worker: AnyWorker, caller: Backend) -> Stored:
    """Store full versions; stock, status and price hold from the next request on every worker."""
    return await worker.cases.put_items(caller.shop, ItemKind.product, {one.id: one for one in sent.products})


@router.put("/products/{product_id:path}", summary="A product as it is from now on")
async def put_product(product_id: Id, sent: ProductIn, worker: AnyWorker, caller: Backend) -> Stored:
    """Store a full version; stock, status and price hold from the next request on every worker."""
    return await worker.cases.put_items(caller.shop, ItemKind.product, {product_id: sent})


@router.get("/products/{product_id:path}", summary="A product as it is known now")
async def get_product(product_id: Id, worker: AnyWorker, caller: Backend) -> RecordOut:
    """Return what came in live, else what the release was trained with."""
    return await worker.cases.get_item(caller.shop, ItemKind.product, product_id)


@router.delete("/products/{product_id:path}", summary="Take a product out of every answer")
async def delete_product(product_id: Id, worker: AnyWorker, caller: Backend) -> Stored:
    """Mark it deleted: it is not shown from the next request on; what customers did with it stays known."""
    return await worker.cases.delete_item(caller.shop, ItemKind.product, product_id)


@router.post("/contents/batch", summary="Up to 1,000 contents as they are from now on")
async def put_contents(sent: ContentBatch, worker: AnyWorker, caller: Backend) -> Stored:
    """Store full versions."""
    return await worker.cases.put_items(caller.shop, ItemKind.content, {one.id: one for one in sent.contents})


@router.put("/contents/{content_id:path}", summary="A content as it is from now on")
async def put_content(content_id: Id, sent: ContentIn, worker: AnyWorker, caller: Backend) -> Stored:
    """Store a full version."""
    return await worker.cases.put_items(caller.shop, ItemKind.content, {content_id: sent})


@router.get("/contents/{content_id:path}", summary="A content that came in live")
async def get_content(content_id: Id, worker: AnyWorker, caller: Backend) -> RecordOut:
    """Return its latest version."""
    return await worker.cases.get_item(caller.shop, ItemKind.content, content_id)


@router.delete("/contents/{content_id:path}", summary="Let a content expire now")
async def delete_content(content_id: Id, worker: AnyWorker, caller: Backend) -> Stored:
    """Let it expire now."""
    return await worker.cases.delete_item(caller.shop, ItemKind.content, content_id)


@router.post("/bundles/batch", summary="Up to 1,000 bundles as they are from now on")
async def put_bundles(sent: BundleBatch, worker: AnyWorker, caller: Backend) -> Stored:
    """Store full versions."""
    return await worker.cases.put_items(caller.shop, ItemKind.bundle, {one.id: one for one in sent.bundles})


@router.put("/bundles/{bundle_id:path}", summary="A bundle as it is from now on")
async def put_bundle(bundle_id: Id, sent: BundleIn, worker: AnyWorker, caller: Backend) -> Stored:
    """Store a full version."""
    return await worker.cases.put_items(caller.shop, ItemKind.bundle, {bundle_id: sent})


@router.get("/bundles/{bundle_id:path}", summary="A bundle that came in live")
async def get_bundle(bundle_id: Id, worker: AnyWorker, caller: Backend) -> RecordOut:
    """Return its latest version."""
    return await worker.cases.get_item(caller.shop, ItemKind.bundle, bundle_id)


@router.delete("/bundles/{bundle_id:path}", summary="Take a bundle out of every answer")
async def delete_bundle(bundle_id: Id, worker: AnyWorker, caller: Backend) -> Stored:
    """Mark it deleted."""
    return await worker.cases.delete_item(caller.shop, ItemKind.bundle, bundle_id)
