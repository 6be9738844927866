"""`pond audience`: the customers most likely to want something now, written to a file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pond.cli.data import ShopName
from pond.cli.session import session_of

if TYPE_CHECKING:
    from models.audience.selection import Cap

Named = Annotated[str | None, typer.Option(help="What it is for: name exactly one.")]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(audience)


def audience(
    ctx: typer.Context,
    shop: ShopName,
    out: Annotated[Path, typer.Option(help="The list: .parquet, .csv or .jsonl.")],
    product: Named = None, category: Named = None, bundle: Named = None, content: Named = None, campaign: Named = None,
    budget: Annotated[int | None, typer.Option(min=1, help="Most customers in the list.")] = None,
    money: Annotated[float | None, typer.Option(min=0, help="Most money; needs --cost.")] = None,
    cost: Annotated[float | None, typer.Option(help="Cost of one touch; above 0.")] = None,
    channel: Annotated[str, typer.Option(help="Channel of the message: a consent for it is needed.")] = "",
    analysis: Annotated[bool, typer.Option("--analysis", help="Nobody is touched: no consent needed.")] = False,
    exclude: Annotated[Path | None, typer.Option(help="Customers never to be listed: one id a line.")] = None,
    bought_days: Annotated[int | None, typer.Option(min=1, help="Leave out who bought it in so many days.")] = None,
    least_probability: Annotated[float, typer.Option(min=0, max=1, help="Leave out who is less likely.")] = 0.0,
    cap: Annotated[list[str] | None, typer.Option(help="Such as region=100; may be repeated.")] = None,
    holdout: Annotated[float, typer.Option(min=0, max=0.9, help="Share kept out; needs --holdout-out.")] = 0.0,
    holdout_out: Annotated[Path | None, typer.Option(help="Where to: those kept out.")] = None,
    name: Annotated[str, typer.Option(help="Draws the holdout; the same name keeps the same ones out.")] = "",
    as_of: Annotated[str | None, typer.Option(help="The moment of the question; default: the release's.")] = None,
    release: Annotated[str | None, typer.Option(help="Default: the one that serves.")] = None,
) -> None:  # fmt: skip
    """Choose under a budget whom to tell of a product, category, bundle, content or campaign."""
    from features.lake import Lake
    from features.sentences import counted
    from models.audience.selection import Budget, Rules
    from models.release_store import DirectoryStore
    from pond.cli.moments import read_moment
    from pond.cli.train import wanted_release
    from training.audience import AudienceQuestion, seek_audience
    from training.batch import write_recommendations

    session = session_of(ctx)
    opened = session.shop(shop)
    named = {"product": product, "category": category, "bundle": bundle, "content": content, "campaign": campaign}
    kind, what = _only_one(named)
    _check(budget, money, cost, holdout, holdout_out, analysis=analysis)
    store = DirectoryStore(opened.releases_dir)
    models = store.load(wanted_release(shop, release or store.current_id())).models
    rules = Rules(
        Budget(budget, money, cost or 0.0), least_probability, tuple(_cap(text) for text in cap or ()), holdout,
        name or f"{kind}:{what}",
    )  # fmt: skip
    question = AudienceQuestion(
        kind, what, rules, channel, analysis, _ids(exclude), bought_days,
        read_moment(as_of, opened.timezone) if as_of else None,
    )  # fmt: skip
    found = seek_audience(models, Lake(opened.lake_dir), question, opened.low_stock)
    write_recommendations(found.listed, out)
    if holdout_out is not None:
        write_recommendations(found.held_out, holdout_out)
    said = f"{counted(found.listed.height, 'customer')} in {out}"
    if found.expected_responses is not None:
        said += f"; {found.expected_responses:,.1f} of them are expected to buy within {found.horizon_days} days"
    session.say(said)
    if found.held_out.height:
        session.say(f"{counted(found.held_out.height, 'customer')} held out, in {holdout_out}: touch none of them")
    if found.left_out:
        session.say("left out: " + "; ".join(f"{n:,} {why}" for why, n in sorted(found.left_out.items())))
    if analysis:
        session.say("for analysis only: marketing consent was not asked for; touch nobody of this list")
    for note in found.notes:
        session.say(f"note: {note}")


def _only_one(named: dict[str, str | None]) -> "tuple[Any, str]":
    from features.errors import UsageError

    given = [(kind, what) for kind, what in named.items() if what]
    if len(given) != 1:
        raise UsageError(f"Name exactly one of {', '.join(f'--{kind}' for kind in named)}.")
    return given[0]


def _check(
    budget: int | None, money: float | None, cost: float | None, holdout: float, holdout_out: Path | None, *,
    analysis: bool,
) -> None:  # fmt: skip
    from features.errors import UsageError

    if budget is None and money is None:
        raise UsageError("Say --budget N, or --money M with --cost C.")
    if (money is None) != (cost is None) or (cost is not None and cost <= 0):
        raise UsageError("--money and --cost (above 0) go together.")
    if (holdout > 0) != (holdout_out is not None):
        raise UsageError("--holdout and --holdout-out go together: who is held out is remembered there.")
    if analysis and holdout > 0:
        raise UsageError("A list for analysis holds nobody out; leave --holdout away.")


def _cap(text: str) -> "Cap":
    from features.errors import UsageError
    from models.audience.selection import Cap

    by, _, most = text.partition("=")
    if not by or not most.isdecimal() or int(most) < 1:
        raise UsageError(f"--cap '{text}' is not understood; write region=100.")
    return Cap(by, int(most))


def _ids(path: Path | None) -> frozenset[str]:
    from features.errors import UsageError

    if path is None:
        return frozenset()
    try:
        return frozenset(line.strip() for line in path.read_text("utf-8-sig").splitlines() if line.strip())
    except FileNotFoundError as error:
        raise UsageError(f"There is no file {path}; give one customer id a line.") from error
