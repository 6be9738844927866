"""How things are said wherever Pond speaks: counts with their noun, and mistakes of settings in plain words."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

SHOWN: Final = 40  # characters of a wrong value that are told
_KINDS: Final[Mapping[str, str]] = {
    "bool": "true or false", "dict": "a table", "float": "a number", "int": "a whole number", "list": "a list",
    "mapping": "a table", "model": "a table", "string": "a text", "tuple": "a list",
}  # fmt: skip
_BOUNDS: Final[Mapping[str, tuple[str, str]]] = {
    "greater_than": ("gt", "above"), "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "below"), "less_than_equal": ("le", "at most"),
}  # fmt: skip
_OTHERS: Final[Mapping[str, Callable[[Mapping[str, Any]], str]]] = {
    "missing": lambda _: "is required",
    "extra_forbidden": lambda _: "is no setting or field that is known",
    "finite_number": lambda _: "must be a finite number",
    "int_from_float": lambda _: "must be a whole number",
    "literal_error": lambda ctx: f"must be {ctx['expected']}",
    "too_short": lambda ctx: f"must hold at least {ctx['min_length']}",
    "too_long": lambda ctx: f"may hold at most {ctx['max_length']}",
    "string_too_short": lambda ctx: f"must have at least {counted(ctx['min_length'], 'character')}",
    "string_too_long": lambda ctx: f"may have at most {counted(ctx['max_length'], 'character')}",
    "value_error": lambda ctx: str(ctx["error"]),
}
_SAYS_IT_ALL: Final = frozenset({"missing", "extra_forbidden", "value_error"})


def counted(n: int, noun: str) -> str:
    """Return a count with its noun: "1 customer", "1,234 customers"."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def plain(error: ErrorDetails) -> str:
    """Say what one rule of a pydantic model asks, as "must be at least 1"; rare kinds keep pydantic's own words."""
    kind, told = error["type"], error.get("ctx", {})
    if kind in _OTHERS:
        return _OTHERS[kind](told)
    if kind in _BOUNDS:
        name, words = _BOUNDS[kind]
        return f"must be {words} {str(told[name]).removesuffix('.0')}"
    wanted, _, how = kind.rpartition("_")
    if how in ("type", "parsing") and wanted in _KINDS:
        return f"must be {_KINDS[wanted]}"
    return error["msg"]


def mistake(error: ValidationError) -> tuple[str, str]:
    """Return where the first mistake among some settings lies, as a dotted path, and what is wrong with it."""
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"] if part not in ("", "[key]"))
    said = plain(first)
    if first["type"] in _SAYS_IT_ALL or said == first["msg"]:
        return where, said
    given = repr(first["input"])
    return where, f"{said}, not {given if len(given) <= SHOWN else f'{given[:SHOWN]}…'}"
