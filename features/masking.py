"""What logs may not hold: secrets are cut out, customers' ids are replaced by stand-ins that match but cannot be read.

A stand-in is a keyed hash (HMAC-SHA-256) under a key that stays in this home: lines of one person can be found
together, and by whoever has the id and the key; nobody else can go from the stand-in to the person.
"""

import hashlib
import hmac
import os
import re
import secrets
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from features.errors import PondError

KEY_FILE: Final = "log.key"
KEY_BYTES: Final = 32
_SECRETS: Final = (
    (re.compile(r"(pond_[0-9a-f]{12}_)[0-9a-f]{8,}"), r"\1…"),
    (re.compile(r"(?i)(bearer |basic )[^\s'\"]+"), r"\1…"),
    (re.compile(r"(://)[^/\s@]+@"), r"\1…@"),
)
# Where the messages of libraries carry values: quoted, as the validator's input, in long numbers, in other scripts.
_VALUES: Final = re.compile(
    r"""(?x) (?<=input_value=).+?(?=,\ input_type|$) | b?'(?:[^'\\]|\\.)+' | b?"(?:[^"\\]|\\.)+"
    | \d{6,} | [^\x00-\x7f…]+"""
)


@dataclass(frozen=True)
class Mask:
    """Makes text fit for a log."""

    key: bytes = field(repr=False)

    @classmethod
    def of(cls, home: Path) -> "Mask":
        """Return the mask of a home, its key made when there is none; one for this process where none can be kept."""
        try:
            return cls(_kept_key(home / KEY_FILE))
        except OSError:
            return cls(secrets.token_bytes(KEY_BYTES))

    def stand_in(self, personal: str) -> str:
        """Return what stands in a log for a customer's id or another value that is personal."""
        return f"~{hmac.new(self.key, personal.encode('utf-8', 'replace'), hashlib.sha256).hexdigest()[:12]}"

    def without_values(self, text: str) -> str:
        """Return a library's message without secrets and without the values it may quote."""
        return _VALUES.sub(lambda found: self.stand_in(found[0].strip("b'\"")), without_secrets(text))

    def trace(self, error: BaseException) -> str:
        """Return a traceback with every line of code and no value: messages that are not Pond's own are masked."""
        return "\n".join(self._trace(traceback.TracebackException.from_exception(error), error))

    def _trace(self, told: traceback.TracebackException, error: BaseException) -> Iterator[str]:
        for cause, words in ((error.__cause__, "direct cause"), (error.__context__, "context")):
            if cause is not None and (words == "direct cause" or not error.__suppress_context__):
                yield from self._trace(traceback.TracebackException.from_exception(cause), cause)
                yield f"({words} of the following)"
                break
        yield from ("".join(told.stack.format())).rstrip("\n").splitlines()
        text = str(error)
        message = without_secrets(text) if isinstance(error, PondError) else self.without_values(text)
        yield f"{type(error).__module__}.{type(error).__qualname__}: {message}"
        if isinstance(error, BaseExceptionGroup):
            for one in error.exceptions:
                yield from (f"  {line}" for line in self.trace(one).splitlines())


def without_secrets(text: str) -> str:
    """Return a text without keys, authorization headers and passwords of URLs."""
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text


def _kept_key(path: Path) -> bytes:
    """Return the key in a file, made for the owner only; of several processes that make it at once, one wins."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        writing = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
        handle = os.open(writing, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(handle, secrets.token_bytes(KEY_BYTES))
            os.fsync(handle)
        finally:
            os.close(handle)
        try:
            os.link(writing, path)
        except FileExistsError:
            pass
        finally:
            writing.unlink()
    return path.read_bytes()
