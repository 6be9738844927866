"""`pond serve` and `pond demo`."""

from typing import Annotated

import typer

from pond.cli.session import session_of


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(serve)
    app.command()(demo)


def serve(
    ctx: typer.Context,
    workers: Annotated[int | None, typer.Option(help="Worker processes; default POND_WORKERS, else 1.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on; default 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one; default 8600.")] = None,
) -> None:
    """Serve every shop of this home over HTTP until stopped.

    A home that is served already can be served a second time on another --port,
    for example to restart without a pause: both answer from the same data, and
    either may be stopped. On the same port it is refused (exit 2).
    """
    from service.settings import ServiceSettings
    from service.supervisor import serve as serve_shops

    session = session_of(ctx)
    settings = ServiceSettings.of(session.environ, home=session.home, workers=workers, host=host, port=port)
    # Flushed at once: whoever started us may wait for this line through a pipe.
    serve_shops(settings, lambda text: print(text, flush=True))


def demo(
    ctx: typer.Context,
    exit_: Annotated[bool, typer.Option("--exit", help="Stop after the example calls.")] = False,
) -> None:
    """Load a real shop, train, serve, and print answered calls; what an earlier run made is used again."""
    from pond.demo.run import run_demo

    run_demo(session_of(ctx), keep_serving=not exit_)
