"""`pond profile`: who the customers are, in a file and in the lake."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pond.cli.data import ShopName
from pond.cli.session import Session, session_of

if TYPE_CHECKING:
    import polars as pl


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(profile)


def profile(
    ctx: typer.Context,
    shop: ShopName,
    out: Annotated[Path, typer.Option(help="Where to: .parquet, .csv or .jsonl.")],
    as_of: Annotated[str | None, typer.Option(help="The moment of the profiles; default: the release's.")] = None,
    release: Annotated[str | None, typer.Option(help="Default: the one that serves.")] = None,
) -> None:
    """Profile every customer: stage, value layer, tastes, rhythm, tags; write them to a file and into the lake."""
    from features.erasure import read_erased
    from features.lake import Lake
    from features.profile_table import replace_profiles
    from features.sentences import counted
    from models.release_store import DirectoryStore
    from pond.cli.moments import read_moment
    from pond.cli.progress import report
    from pond.cli.train import wanted_release
    from training.batch import check_output, write_recommendations
    from training.profiles import left_out, profile_batch
    from training.settings import merge_settings

    session = session_of(ctx)
    opened = session.shop(shop)
    check_output(out)
    store = DirectoryStore(opened.releases_dir)
    name = wanted_release(shop, release or store.current_id())
    models, lake = store.load(name).models, Lake(opened.lake_dir)
    moment = read_moment(as_of, opened.timezone) if as_of else models.as_of
    frame = profile_batch(
        models, lake, name, as_of=moment, erased=read_erased(opened),
        workers=merge_settings(opened, session.environ).training.workers, progress=report(session),
    )  # fmt: skip
    # Asked anew while the table is locked: somebody may have been erased, or have refused, since the work began.
    frame = replace_profiles(lake, frame, moment, lambda ids: left_out(lake, read_erased(opened), ids))
    write_recommendations(frame, out)
    session.say(f"{counted(frame.height, 'profile')} in {out} and in the lake's table profiles")
    _show(session, frame)


def _show(session: Session, frame: "pl.DataFrame") -> None:
    for column, title in (("stage", "stages"), ("layer", "layers")):
        counts = Counter(frame[column].to_list()).most_common()
        session.say(f"{title}: {', '.join(f'{n:,} {name}' for name, n in counts) or 'nobody'}")
