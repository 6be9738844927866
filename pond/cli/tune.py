"""`pond tune`: better settings looked for, and a file with what was worth changing."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pond.cli.data import ShopName
from pond.cli.session import Session, quiet_mlflow, session_of
from pond.cli.train import Config, Sets

if TYPE_CHECKING:
    from training.study import TrialRecord
    from training.tuning_report import TuneReport


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(tune)


def tune(
    ctx: typer.Context,
    shop: ShopName,
    trials: Annotated[int | None, typer.Option(help="Try so many more settings.")] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Try for so long; a trial that would end later is left.")
    ] = None,
    scenes: Annotated[str | None, typer.Option(help="Such as home,discover; default: training.scenes.")] = None,
    config: Config = None,
    set_: Sets = None,
    out: Annotated[Path, typer.Option(help="Where the settings found go.")] = Path("pond-tuned.toml"),
    force: Annotated[bool, typer.Option("--force", help="Replace a file that pond tune did not write.")] = False,
) -> None:
    """Look for better settings on the shop's past before what releases are judged on; may be stopped and goes on."""
    from pond.cli.progress import report
    from training.settings import merge_settings
    from training.tracking import NoTracker, open_tracker
    from training.tune import Limit, tune
    from training.tuned_file import check_place, differences, write_tuned

    quiet_mlflow()
    session = session_of(ctx)
    opened, limit = session.shop(shop), Limit(trials, minutes)
    check_place(out, force=force)
    settings = merge_settings(opened, session.environ, config, set_ or ())
    said = settings.training
    tracker = open_tracker(said.tracking_uri, session.home) if said.tracking else NoTracker()
    found = tune(
        opened, settings, limit, _named(scenes), report(session), tracker=tracker,
        told=lambda record: _show_trial(session, record),
    )  # fmt: skip
    _show_tuning(session, found)
    if found.changes:
        tree = differences(merge_settings(opened, session.environ), found.settings)
        write_tuned(out, _comment(found), tree)
        use = f"pond train --shop {shop} --config {out}"
        if found.worse:
            session.say(f"Settings are in {out}, but think before you use them ({use}): some scenes lose by them.")
        else:
            session.say(f"Settings are in {out}; use them with: {use}")
    if found.interrupted:
        raise typer.Abort


def _named(scenes: str | None) -> tuple[str, ...] | None:
    from features.errors import UsageError

    if scenes is None:
        return None
    names = tuple(name.strip() for name in scenes.split(",") if name.strip())
    if not names:
        raise UsageError("--scenes names no scene; write for example --scenes home,discover.")
    return names


def _show_trial(session: Session, record: "TrialRecord") -> None:
    if record.failure:
        session.remark(f"trial {record.number}: {record.part} failed: {record.failure}")
        return
    changed = ", ".join(f"{name.rpartition('.')[2]} {value:g}" for name, value in record.changed.items())
    gain = f"{100 * record.gain:+.2f} % ± {100 * record.gain_error:.2f}{', taken over' if record.better else ''}"
    what = f"{record.part}: {changed}; {gain}" if record.changed else "the current settings"
    session.remark(f"trial {record.number}: {what} ({record.seconds:.0f} s)")


def _show_tuning(session: Session, found: "TuneReport") -> None:
    from features.sentences import counted
    from pond.cli.tables import table

    state = "goes on" if found.continued else "is new"
    session.say(
        f"Study {found.study} {state}: {counted(found.n_new, 'trial')} tried now, {len(found.trials) - 1} in all; "
        f"{counted(found.n_customers - found.n_confirming, 'customer')} to choose, {found.n_confirming:,} to confirm"
    )
    if found.news:
        session.say(found.news)
    session.say(f"{found.note}; the evaluation's own truth was taken off before")
    if found.changes:
        rows = [(change.name, f"{change.before:g}", f"{change.after:g}") for change in found.changes]
        session.out.print(table(("setting", "current", "tuned"), rows, right=("current", "tuned")))
        head = ("NDCG@10", "customers", "current", "tuned", "difference", "95 % interval")
        lines = []
        for scene, each in found.comparisons.items():
            d = each.difference
            interval = f"[{d.low:+.4f}, {d.high:+.4f}]"
            lines.append((scene, d.n, f"{each.current:.4f}", f"{each.tuned:.4f}", f"{d.mean:+.4f}", interval))
        session.out.print(table(head, lines, right=head[1:]))
    for warning in found.warnings:
        session.remark(f"note: {warning}")
    session.say(found.verdict)


def _comment(found: "TuneReport") -> list[str]:
    """Say in the file where its settings come from."""
    figures = [
        f"{scene}: NDCG@10 {each.current:.4f} -> {each.tuned:.4f}, difference {each.difference.mean:+.4f} "
        f"[{each.difference.low:+.4f}, {each.difference.high:+.4f}]"
        for scene, each in found.comparisons.items()
    ]
    source = (
        f"Shop {found.shop}, study {found.study}, trial {found.best.number} of {len(found.trials) - 1}; "
        f"score {found.best.score:.4f} against 1 for the settings tuning started from."
    )
    return [source, found.note, *figures, found.verdict]
