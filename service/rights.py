"""A customer's rights over HTTP: export and erasure, each with a row in the audit trail that does not name him."""

import asyncio
from dataclasses import dataclass

from service.control import ControlPlane
from service.eraser import start_eraser
from service.erasure import Erasing, begin, person_of
from service.export import export_archive
from service.live_state import LiveState
from service.problems import NotKept
from service.receipts import Receipt
from service.records import ErasureOut
from service.schemas import iso
from service.settings import ServiceSettings
from service.unfinished import claimed
from service.use_cases import UseCases


@dataclass(frozen=True, eq=False)
class Rights:
    """What a worker does for a customer who asks."""

    settings: ServiceSettings
    control: ControlPlane
    state: LiveState
    cases: UseCases

    async def _erasing(self, shop: str) -> Erasing:
        return Erasing(self.settings, await self.cases.shop(shop), self.control, self.state)

    async def export(self, shop: str, customer_id: str, actor: str) -> bytes:
        """Return the archive of everything that is kept of a customer."""
        data = await export_archive(await self._erasing(shop), customer_id)
        await asyncio.to_thread(self.control.record, actor, shop, "customer.export", {})
        return data

    async def erase(self, shop: str, customer_id: str, actor: str) -> ErasureOut:
        """Set the tombstones now and start what takes longer; an erasure that is done is told as done."""
        erasing = await self._erasing(shop)
        digest = self.state.tomb(shop, customer_id)
        known = await asyncio.to_thread(self.control.receipts.of, shop, [digest])
        if known is not None and known.state == "done":
            return _told(known)
        ids = await person_of(erasing, customer_id)
        with claimed(erasing.shop, self.state.tomb(shop, ids[0])) as claim:
            receipt = await begin(erasing, ids, actor)
            await asyncio.to_thread(self.control.record, actor, shop, "customer.erase", {"receipt": receipt.id})
            start_eraser(self.settings, shop, receipt.id, ids, claim)
        return _told(receipt)

    async def receipt(self, shop: str, receipt_id: str) -> ErasureOut:
        """Return what became of an erasure."""
        found = await asyncio.to_thread(self.control.receipts.find, shop, receipt_id)
        if found is None:
            raise NotKept("receipt")
        return _told(found)


def _told(receipt: Receipt) -> ErasureOut:
    return ErasureOut(
        receipt=receipt.id, state=receipt.state, asked_at=iso(receipt.asked_at),
        done_at=None if receipt.done_at is None else iso(receipt.done_at), counts=dict(receipt.counts),
    )  # fmt: skip
