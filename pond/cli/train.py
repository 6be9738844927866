"""`pond train`, `pond evaluate`, `pond recommend`: models made, judged, and asked in batch."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from pond.cli.audit import record
from pond.cli.data import ShopName
from pond.cli.session import Session, quiet_mlflow, session_of

if TYPE_CHECKING:
    from features.shop import Shop
    from training.batch import Answers
    from training.gates import GateReport
    from training.run import TrainReport

Config = Annotated[Path | None, typer.Option(help=r"TOML with sections \[training], \[sources.…], \[scenes.…].")]
Sets = Annotated[
    list[str] | None, typer.Option("--set", help="One setting, such as sources.als.dim=64; may be repeated.")
]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(train)
    app.command()(evaluate)
    app.command()(recommend)


def train(
    ctx: typer.Context,
    shop: ShopName,
    as_of: Annotated[str | None, typer.Option(help="See nothing from this moment on; default: see everything.")] = None,
    config: Config = None,
    set_: Sets = None,
    engine: Annotated[str, typer.Option(help="Where heavy steps run: local.")] = "local",
    no_promote: Annotated[bool, typer.Option("--no-promote", help="Publish, but let the old release serve.")] = False,
) -> None:
    """Fit, evaluate against the serving release and honest baselines, publish, promote when the gates agree."""
    from features.errors import UsageError

    if engine != "local":
        raise UsageError(f"There is no engine '{engine}'; use local.")
    session = session_of(ctx)
    train_shop(session, session.shop(shop), as_of=as_of, config=config, sets=set_ or (), promote=not no_promote)


def train_shop(
    session: Session,
    shop: "Shop",
    *,
    as_of: str | None = None,
    config: Path | None = None,
    sets: "list[str] | tuple[str, ...]" = (),
    promote: bool = True,
) -> "TrainReport":
    """Run a training and say what came of it; a refused release is `GateRefused` after it was recorded."""
    from pond.cli.moments import read_moment
    from pond.cli.persons import forget_what_came_back
    from pond.cli.progress import report
    from training.run import train
    from training.settings import merge_settings
    from training.tracking import NoTracker, open_tracker

    quiet_mlflow()

    settings = merge_settings(shop, session.environ, config, sets)
    said = settings.training
    tracker = open_tracker(said.tracking_uri, session.home) if said.tracking else NoTracker()
    moment = read_moment(as_of, shop.timezone) if as_of else None
    try:
        made = train(
            shop, settings, moment, report(session),
            promote=promote, tracker=tracker, show=partial(_show_training, session),
        )  # fmt: skip
    finally:
        forget_what_came_back(session, shop)
    if made.promoted:
        record(session, shop.name, "release.promote", {"release": made.release_id, "by": "train"})
    return made


def _show_training(session: Session, made: "TrainReport") -> None:
    from pond.cli.figures import show_evaluation

    show_evaluation(session, made.evaluation)
    _show_gates(session, made.gates)
    # What orders a scene and what could not be judged are results: `--quiet` is about progress.
    for scene, learned in made.rankers.items():
        session.say(f"order of {scene}: {learned}")
    for warning in made.warnings:
        session.say(f"note: {warning}")
    steps = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in made.seconds.items())
    session.remark(f"time: {steps}")
    state = "serves now" if made.promoted else "is kept and does not serve"
    session.say(f"Release {made.release_id} {state}; the run is in {made.run_dir}")


def _show_gates(session: Session, gates: "GateReport") -> None:
    from training.gates import ENOUGH

    for gate in gates.gates:
        mark = ("pass" if gate.judged else "not judged") if gate.passed else "FAIL"
        session.say(f"gate {mark}: {gate.sentence}", style=None if gate.passed else "red")
    if gates.unjudged:
        which = "all gates" if gates.unjudged == len(gates.gates) else f"{gates.unjudged} of {len(gates.gates)} gates"
        session.say(f"{which} had too few customers to judge (fewer than {ENOUGH}); they refuse nothing")
    if gates.first:
        session.say("first release of this shop: it serves whatever the gates say")


def evaluate(
    ctx: typer.Context,
    shop: ShopName,
    release: Annotated[str | None, typer.Option(help="Its recipe is judged; default: the one that serves.")] = None,
    protocol: Annotated[
        str | None, typer.Option(help="time_split or last_basket; default: what the data allows.")
    ] = None,
    k: Annotated[str | None, typer.Option(help="Lengths of list, such as 10,20.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the whole report as JSON here.")] = None,
) -> None:
    """Judge a release's recipe over the full catalogue, beside popularity and personal frequency."""
    from models.release_store import DirectoryStore
    from pond.cli.figures import show_evaluation
    from pond.cli.progress import report
    from training.evaluate import evaluate_release
    from training.settings import merge_settings

    session = session_of(ctx)
    sets = _protocol_set(protocol) + _lengths_set(k)
    opened = session.shop(shop)
    store = DirectoryStore(opened.releases_dir)
    wanted = wanted_release(shop, release or store.current_id())
    settings = merge_settings(opened, session.environ, None, sets)
    found = evaluate_release(opened, store.load(wanted), settings.training, report(session)).report
    if out is not None:
        out.write_text(found.model_dump_json(indent=1), "utf-8")
    session.say(f"Release {wanted}")
    show_evaluation(session, found)


def _protocol_set(protocol: str | None) -> list[str]:
    from features.errors import UsageError
    from training.settings import ProtocolName

    if protocol is not None and protocol not in get_args(ProtocolName):
        raise UsageError(f"There is no --protocol '{protocol}'; use {', '.join(get_args(ProtocolName))}.")
    return [f"training.protocol={protocol}"] if protocol is not None else []


def _lengths_set(k: str | None) -> list[str]:
    from features.errors import UsageError

    if k is None:
        return []
    lengths = [part.strip() for part in k.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in lengths):
        raise UsageError(f"--k '{k}' is not understood; write lengths of list, such as 10,20.")
    return [f"training.k=[{','.join(str(int(part)) for part in lengths)}]"]


def recommend(
    ctx: typer.Context,
    shop: ShopName,
    scene: Annotated[str, typer.Option(help="home rebuy discover next_basket similar cart popular new, or your own.")],
    customers: Annotated[
        str, typer.Option(help="all, or a file: one customer_id a line, or CSV or Parquet (query_id, at, basket).")
    ],
    out: Annotated[Path, typer.Option(help="Where to: .parquet, .csv or .jsonl.")],
    k: Annotated[int, typer.Option("--k", help="Items for each customer.")] = 10,
    as_of: Annotated[str | None, typer.Option(help="The moment of the question; default: the release's.")] = None,
    release: Annotated[str | None, typer.Option(help="Default: the one that serves.")] = None,
) -> None:
    """Answer many customers at once, as the service would at that moment."""
    answer_batch(ctx, shop, scene, customers, out, k=k, as_of=as_of, release=release)


def answer_batch(
    ctx: typer.Context, shop: str, scene: str, customers: str, out: Path, *, k: int, as_of: str | None,
    release: str | None,
) -> None:  # fmt: skip
    """Answer a file of customers in a scene and write the answers down."""
    from features.lake import Lake
    from models.release_store import DirectoryStore
    from pond.cli.moments import read_moment
    from pond.cli.progress import report
    from pond.cli.rules import rules_of
    from training.batch import read_customers, recommend_batch, write_recommendations
    from training.settings import merge_settings

    session = session_of(ctx)
    opened = session.shop(shop)
    store = DirectoryStore(opened.releases_dir)
    models = store.load(wanted_release(shop, release or store.current_id())).models
    rows = read_customers(customers, models)
    answers = recommend_batch(
        models, rows, scene, k,
        as_of=read_moment(as_of, opened.timezone) if as_of else None, lake=Lake(opened.lake_dir),
        low_stock=opened.low_stock, rules=rules_of(session, opened.name),
        workers=merge_settings(opened, session.environ).training.workers, progress=report(session),
    )  # fmt: skip
    write_recommendations(answers.frame, out)
    say_answers(session, answers, len(rows), out)


def say_answers(session: Session, answers: "Answers", n_rows: int, out: Path) -> None:
    """Say how many were answered, and what fell short."""
    from features.sentences import counted

    session.say(f"{counted(n_rows, 'question')} answered with {counted(answers.frame.height, 'item')} in {out}")
    if answers.n_degraded:
        causes = "; ".join(f"{n:,} {cause}" for cause, n in answers.causes.most_common())
        session.say(f"degraded: {answers.n_degraded:,} of {counted(n_rows, 'answer')}: {causes}")


def wanted_release(shop: str, release: str | None) -> str:
    """Return the release to work with, or say how to make one."""
    from features.errors import ReleaseError

    if release is None:
        raise ReleaseError(f"The shop '{shop}' has no release yet; make one with `pond train --shop {shop}`.")
    return release
