"""`pond export` and `pond erase`: what a customer may ask for, everything about him and to be forgotten."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from pond.cli.audit import ACTOR
from pond.cli.data import ShopName
from pond.cli.session import Session, quiet_mlflow, session_of

if TYPE_CHECKING:
    from features.person import Person
    from features.shop import Shop
    from service.erasure import Erasing
    from service.receipts import Receipt
    from service.settings import ServiceSettings

R = TypeVar("R")
Customer = Annotated[str, typer.Option("--customer", help="The customer's id.")]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(export)
    app.command()(erase)


def export(
    ctx: typer.Context, shop: ShopName, customer: Customer,
    out: Annotated[Path, typer.Option(help="Where to: a new .zip file.")],
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
) -> None:  # fmt: skip
    """Write everything that is kept of a customer to one archive that he can read."""
    from features.durable import storage_errors, write_synced
    from features.errors import UsageError
    from service.export import export_archive

    session = session_of(ctx)
    if out.suffix != ".zip":
        raise UsageError(f"{out.name}: the archive is a zip file; name it {out.stem or 'customer'}.zip.")
    if not out.parent.is_dir():
        raise UsageError(f"There is no directory {out.parent}; create it first.")
    if out.exists() and not (force and out.is_file()):
        what = "is a directory" if out.is_dir() else "is there already"
        raise UsageError(f"{out} {what}; choose a new name{'' if out.is_dir() else ', or say --force'}.")

    async def exported(erasing: "Erasing") -> bytes:
        data = await export_archive(erasing, customer)
        erasing.control.record(ACTOR, erasing.shop.name, "customer.export", {})
        return data

    data = _with_state(session, session.shop(shop), exported)
    with storage_errors(out):
        write_synced(out, data)
    session.say(f"Everything about this customer of {shop} is in {out}.")


def erase(
    ctx: typer.Context, shop: ShopName,
    customer: Annotated[
        str, typer.Option("--customer", help="The customer's id; - reads a JSON list of a person's ids from the input.")
    ],
    receipt: Annotated[str, typer.Option(hidden=True)] = "",  # said by service/eraser.py: this one is audited already
) -> None:  # fmt: skip
    """Remove a customer from everything Pond keeps; running it again goes on with what could not be done yet."""
    from features.errors import UsageError

    session = session_of(ctx)
    opened = session.shop(shop)
    ids = json.loads(sys.stdin.read()) if customer == "-" else [customer]
    if not isinstance(ids, list) or not ids or not all(isinstance(one, str) and one for one in ids):
        raise UsageError('With `--customer -` the input is a JSON list of the ids of one person, such as ["c1"].')
    done = _with_state(session, opened, lambda erasing: _erase(session, erasing, ids, receipt))
    session.say(f"Erased. Receipt {done.id}")
    for place, count in done.counts.items():
        session.say(f"  {place}: {count:,}")


async def _erase(session: Session, erasing: "Erasing", ids: list[str], audited: str) -> "Receipt":
    """Erase a person; `audited` is the receipt that the audit trail names already, because the service began it."""
    from features.errors import ServiceUnreachable
    from features.person import Person
    from service.erasure import begin, carry_out, end, person_of
    from service.unfinished import claimed

    shop, every = erasing.shop, list(dict.fromkeys([*await person_of(erasing, ids[0]), *ids]))
    with claimed(shop, erasing.state.tomb(shop.name, every[0])):
        receipt = await begin(erasing, every, ACTOR)
        if receipt.id != audited:
            erasing.control.record(ACTOR, shop.name, "customer.erase", {"receipt": receipt.id})
        session.remark(f"Receipt {receipt.id}: from now on nothing of this customer is read or taken in.")
        done = await carry_out(erasing, every)
        in_tracker = await asyncio.to_thread(_forget_in_tracker, session, shop, Person.of(every))
        counts = dict(done.counts) | ({"in MLflow": in_tracker} if in_tracker else {})
        receipt = end(erasing, receipt, every, counts, done=not done.waiting)
    if done.waiting:
        raise ServiceUnreachable(
            f"The customer is not erased everywhere yet (receipt {receipt.id}): {' '.join(done.waiting)} "
            "Run the command again."
        )
    return receipt


def forget_what_came_back(session: Session, shop: "Shop") -> None:
    """Take erased customers out of what a long command wrote from data that it had read before they were erased."""
    from features.lake_rewrite import held
    from features.person import Person
    from service.files_of import LOCK, FilesOf

    files = FilesOf(session.home, shop)
    with held(shop.root / LOCK):
        ids = files.brought_back()
        if not ids:
            return
        person = Person.of(ids)
        files.clean(person)
        files.revise(ids)
        waiting = files.remove_superseded()
        _forget_in_tracker(session, shop, person)
    session.remark(f"{len(ids)} customers were erased while this ran; they are in nothing it made. {' '.join(waiting)}")


def _forget_in_tracker(session: Session, shop: "Shop", person: "Person") -> int:
    """Erase in MLflow, where the shop uses one."""
    from models.release_store import DirectoryStore
    from training.forget import forget_in_tracker
    from training.settings import merge_settings
    from training.tracking import open_tracker

    uri = merge_settings(shop, session.environ).training.tracking_uri
    if not (uri or (session.home / "mlflow" / "mlflow.db").exists()):
        return 0
    quiet_mlflow()
    revisions = {m.revision_of: m.release_id for m in DirectoryStore(shop.releases_dir).list() if m.revision_of}
    return forget_in_tracker(open_tracker(uri, session.home), shop.name, person, revisions)


def _with_state(session: Session, shop: "Shop", act: "Callable[[Erasing], Awaitable[R]]") -> R:
    """Join the running state server, or start the embedded one for as long as this takes."""
    from service.control import ControlPlane
    from service.erasure import Erasing
    from service.guardian import start_or_join
    from service.live_state import LiveState
    from service.settings import ServiceSettings
    from service.state_client import connect

    # A command has more patience than a decision has.
    patient = {"connect_ms": 10_000, "read_ms": 30_000, "write_ms": 60_000}
    settings = ServiceSettings.of(session.environ, home=session.home).model_copy(update=patient)

    async def run() -> R:
        control = ControlPlane.open(settings)
        state = LiveState(connect(start_or_join(settings), settings), settings, control.receipts.key())
        try:
            await state.open_shop(shop.name)
            return await act(Erasing(settings, shop, control, state))
        finally:
            await state.close()
            control.close()

    with _used(settings):
        return asyncio.run(run())


@contextmanager
def _used(settings: "ServiceSettings") -> Iterator[None]:
    from service.guardian import in_use, stop

    try:
        with in_use(settings):
            yield
    finally:
        stop(settings)
