"""`pond`: the command line (DESIGN §7). Exit codes and the printing of errors live here and nowhere else.

0 ok · 1 bug · 2 usage · 3 data · 4 gate refused · 5 release or artifact · 6 service not reachable · 130 stopped

Every command takes `--home DIR` (else POND_HOME, else ./var), `--quiet` and `--debug`, before or after its name.
Importing this module imports no heavy library: each command imports what it composes when it runs.
"""

import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer
from typer.exceptions import TyperException

from features.errors import (
    ContractError,
    GateRefused,
    PondError,
    ReleaseError,
    ServiceUnreachable,
    StorageFull,
    UsageError,
)
from features.masking import Mask, without_secrets
from pond.cli import (
    audience,
    audit,
    bundles,
    contents,
    data,
    keys,
    machine,
    persons,
    profile,
    releases,
    serving,
    shops,
    train,
    tune,
    upkeep,
)  # fmt: skip
from pond.cli.session import Session

EXIT_CODES: Final[tuple[tuple[type[PondError], int], ...]] = (
    (UsageError, 2),
    (ContractError, 3),
    (StorageFull, 3),
    (GateRefused, 4),
    (ReleaseError, 5),
    (ServiceUnreachable, 6),
)
BUG: Final = 1
USAGE: Final = 2
STOPPED: Final = 130
EVERYWHERE: Final = ("--home",)
PERSONAL: Final = ("--customer", "--into", "--other")  # options whose value names a person
EVERYWHERE_FLAGS: Final = ("--quiet", "--debug")

app = typer.Typer(
    name="pond",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="The personalization engine for shops that own their customers (私域).",
    epilog="--home, --quiet and --debug may stand anywhere. Exit codes: 0 ok, 1 bug, 2 usage, 3 data, 4 gate refused, "
    "5 release or artifact, 6 service not reachable.",
)
for group in (
    shops, keys, audit, data, train, contents, bundles, tune, audience, profile, releases, persons, serving, upkeep,
    machine,
):  # fmt: skip
    group.register(app)


@app.callback()
def start(
    ctx: typer.Context,
    home: Annotated[Path | None, typer.Option(help="Where everything is kept; else POND_HOME, else ./var.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bars, only results.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Keep what every command needs."""
    ctx.obj = Session.of(home, os.environ, quiet=quiet, debug=debug)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code (the console script exits with it)."""
    words = hoisted(sys.argv[1:] if argv is None else argv)
    try:
        code = app(args=words, prog_name="pond", standalone_mode=False)
    except PondError as error:
        return _failed(str(error), exit_code(error), words)
    except TyperException as error:
        # A group called without a command has printed its help and has nothing more to say.
        return _failed(error.format_message(), USAGE, words) if error.format_message() else USAGE
    except (KeyboardInterrupt, typer.Abort):
        return _failed("Stopped.", STOPPED, words)
    except BrokenPipeError:
        # The reader of our output left (`pond … | head`): nothing to say, and nobody to say it to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return STOPPED
    except Exception as error:  # noqa: BLE001 - the last door: a bug becomes one sentence and a file to send us
        where = f"The traceback is in {_kept_traceback(words)}" if "--debug" not in words else "The traceback is above"
        return _failed(f"Pond has a bug here: {type(error).__name__}: {_one_line(error)}. {where}.", BUG, words)
    return code if isinstance(code, int) else 0


def exit_code(error: PondError) -> int:
    """Return the exit code of an expected failure."""
    return next((code for kind, code in EXIT_CODES if isinstance(error, kind)), BUG)


def hoisted(argv: Sequence[str]) -> list[str]:
    """Move the options that every command takes to the front, where the parser looks for them."""
    front: list[str] = []
    rest: list[str] = []
    words = iter(argv)
    for word in words:
        if word == "--":
            rest += [word, *words]
        elif word in EVERYWHERE_FLAGS or word.startswith(tuple(f"{name}=" for name in EVERYWHERE)):
            front.append(word)
        elif word in EVERYWHERE:
            front += [word, *(value for value in (next(words, None),) if value is not None)]
        else:
            rest.append(word)
    return front + rest


def _failed(sentence: str, code: int, words: Sequence[str]) -> int:
    if "--debug" in words and sys.exc_info()[0] is not None:
        traceback.print_exc()
    print(f"pond: {sentence}", file=sys.stderr)
    return code


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 200 else f"{text[:200]}…"


def _kept_traceback(words: Sequence[str]) -> Path:
    """Write the traceback below the home, or where temporary files go when that cannot be written."""
    given = next((words[n + 1] for n, word in enumerate(words[:-1]) if word == "--home"), None)
    home = Session.of(Path(given) if given else None, os.environ).home
    name = f"bug-{datetime.now(UTC):%Y%m%dT%H%M%S%f}.txt"
    text = _fit_to_send(words, Mask.of(home))
    attempts: tuple[Callable[[], Path], ...] = (lambda: home / "logs", lambda: Path(tempfile.mkdtemp(prefix="pond-")))
    for place in attempts:
        try:
            folder = place()
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, "utf-8")
        except OSError:
            continue
        return folder / name
    return Path(os.devnull)


def _fit_to_send(words: Sequence[str], mask: Mask) -> str:
    """Return the command and the traceback without secrets and customers: the file is made to be sent to us."""
    said: list[str] = []
    for before, word in zip(("", *words), words, strict=False):
        name, is_joined, value = word.partition("=")
        if name in PERSONAL and is_joined:
            said.append(f"{name}={mask.stand_in(value)}")
        else:
            said.append(mask.stand_in(word) if before in PERSONAL else word)
    error = sys.exc_info()[1]
    return without_secrets(f"pond {' '.join(said)}\n") + (f"Traceback\n{mask.trace(error)}\n" if error else "")


if __name__ == "__main__":
    sys.exit(main())
