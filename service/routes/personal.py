"""What a customer may ask of a shop: everything that is kept of him, and to be erased."""

from typing import Annotated, Final

from fastapi import APIRouter, Path, Response

from service.access import Admin, AnyWorker
from service.addressing import IdRoute
from service.problems import RESPONSES
from service.records import ErasureOut
from service.schemas import Id, Problem

router: Final = APIRouter(
    route_class=IdRoute, prefix="/v1", tags=["customers"], responses=RESPONSES | {
        404: {"model": Problem, "description": "Nothing is known of this customer."},
    },
)  # fmt: skip
ZIP: Final = "application/zip"


@router.get(
    "/customers/{customer_id:path}/data", summary="Everything that is kept of a customer", response_class=Response,
    responses={
        200: {"content": {ZIP: {}}, "description": "An archive of JSON files with a README in Chinese and English."},
        410: {"model": Problem, "description": "The customer was erased on request."},
    },
)  # fmt: skip
async def export_customer(customer_id: Id, worker: AnyWorker, caller: Admin) -> Response:
    """Return one zip archive: rows of every table, live state, what the models know of him, rejected rows."""
    data = await worker.rights.export(caller.shop, customer_id, caller.key_id)
    return Response(data, media_type=ZIP, headers={"Content-Disposition": 'attachment; filename="customer.zip"'})


@router.delete(
    "/customers/{customer_id:path}/data", summary="Erase a customer everywhere", status_code=202,
    responses={200: {"model": ErasureOut, "description": "Done before: nothing of the customer is left."}},
)  # fmt: skip
async def erase_customer(customer_id: Id, worker: AnyWorker, caller: Admin, response: Response) -> ErasureOut:
    """Refuse everything of the customer from now on, and begin to remove him from files, releases and MLflow.

    The receipt says when that is done; asking again is harmless and goes on with what was interrupted.
    """
    receipt = await worker.rights.erase(caller.shop, customer_id, caller.key_id)
    if receipt.state == "done":
        response.status_code = 200
    return receipt


@router.get("/erasures/{receipt_id}", summary="What became of an erasure")
async def get_erasure(
    receipt_id: Annotated[str, Path(pattern=r"^e[0-9a-f]{24}$")], worker: AnyWorker, caller: Admin
) -> ErasureOut:
    """Return a receipt; it holds no personal data."""
    return await worker.rights.receipt(caller.shop, receipt_id)
