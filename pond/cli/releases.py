"""`pond releases`, `pond promote`, `pond rollback`: which set of models serves."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from pond.cli.audit import record
from pond.cli.data import ShopName
from pond.cli.session import Session, quiet_mlflow, session_of

if TYPE_CHECKING:
    from features.shop import Shop


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(releases)
    app.command()(promote)
    app.command()(rollback)


def releases(ctx: typer.Context, shop: ShopName) -> None:
    """Show every release of a shop, oldest first, and which one serves; damaged ones at the end, with the reason."""
    from models.release_store import DirectoryStore
    from pond.cli.tables import moment, table

    session = session_of(ctx)
    store = DirectoryStore(session.shop(shop).releases_dir)
    found, current = store.inspect(), store.current_id()
    if not found.manifests and not found.damaged:
        session.say(f"No release of {shop} yet: pond train --shop {shop}")
        return
    rows = [
        (
            "serves" if m.release_id == current else "", m.release_id, moment(m.created_at), moment(m.as_of),
            f"{m.counts.get('products', 0):,}", f"{m.counts.get('customers', 0):,}",
            gates_in_short(m.gates),
        )
        for m in found.manifests
    ]  # fmt: skip
    for name, why in found.damaged.items():
        state = "damaged, named to serve" if name == current else "damaged"
        rows.append((state, name, "", "", "", "", f"{why}; restore it from a backup or delete it"))
    head = ("", "release", "made (UTC)", "knows until (UTC)", "products", "customers", "gates")
    session.out.print(table(head, rows, right=("products", "customers")))


def gates_in_short(gates: Mapping[str, str]) -> str:
    """Say how many gates let a release through and name those that did not; older manifests say verdicts only."""
    asked = {name: said for name, said in gates.items() if name != "first"}
    if not asked:
        return "nothing judged"
    # What nobody could judge has let the release through, but has not been passed.
    judged = {name: said for name, said in asked.items() if not said.endswith("too few to judge")}
    if not judged:
        return "too few customers to judge"
    failed = [name for name, said in judged.items() if said.startswith("FAIL")]
    passed = sum(said.startswith("pass") for said in judged.values())
    if passed + len(failed) < len(judged):
        verdicts = [said.partition(";")[0] for said in judged.values()]
        return ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in dict.fromkeys(verdicts))
    first = " (first: serves anyway)" if failed and "first" in gates else ""
    lost = f"; failed: {', '.join(failed)}{first}" if failed else ""
    few = f"; {len(asked) - len(judged)} with too few customers to judge" if len(judged) < len(asked) else ""
    return f"{passed}/{len(judged)} pass{lost}{few}"


def promote(ctx: typer.Context, release: Annotated[str, typer.Argument(help="Its id.")], shop: ShopName) -> None:
    """Let a release serve; a running service takes it up without restart."""
    from models.release_store import DirectoryStore

    session = session_of(ctx)
    opened = session.shop(shop)
    DirectoryStore(opened.releases_dir).promote(release)
    record(session, opened.name, "release.promote", {"release": release})
    session.say(f"{release} serves {shop} now.")
    _tell_mlflow(session, opened, release)


def rollback(ctx: typer.Context, shop: ShopName) -> None:
    """Let the release that served before serve again."""
    from models.release_store import DirectoryStore

    session = session_of(ctx)
    opened = session.shop(shop)
    back = DirectoryStore(opened.releases_dir).rollback()
    record(session, opened.name, "release.rollback", {"release": back})
    session.say(f"{back} serves {shop} again.")
    _tell_mlflow(session, opened, back)


def _tell_mlflow(session: Session, shop: "Shop", release: str) -> None:
    """Point the registry's `champion` at what serves; the shop's own pointer is the truth, so a failure is a remark."""
    from training.registry import model_name, set_champion
    from training.settings import merge_settings
    from training.tracking import open_tracker

    said = merge_settings(shop, session.environ).training
    if not said.tracking or not (said.tracking_uri or (session.home / "mlflow" / "mlflow.db").exists()):
        return
    quiet_mlflow()
    try:
        known = set_champion(open_tracker(said.tracking_uri, session.home).client, model_name(shop.name), release)
    except Exception as error:  # noqa: BLE001 - whatever the registry's library raises, the release serves
        session.remark(f"note: MLflow still names another champion ({type(error).__name__}: {error})")
        return
    if not known:
        session.remark("note: MLflow has no version of this release, so its champion stays as it was")
