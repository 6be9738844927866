"""The column mapping file: how a shop's own column names become those of the contract.

A TOML file with a section for each table that needs one:

    [events]
    customer_id = "household_id"      # contract column = column of the file
    item_id = "product_id"
    at = "transaction_timestamp"
    time_unit = "ms"                  # optional: s, ms or us for times written as numbers; else decided by size
    separator = ";"                   # optional, CSV: default comma
    encoding = "gb18030"              # optional, CSV and JSONL: default utf-8

    [events.defaults]                 # optional: the value of a column where the file has none
    kind = "purchase"

Columns that keep their name need no line. Columns of the file that neither are of the contract nor are mapped are kept
in `props` (events) or `attributes` (products, customers).
"""

import codecs
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from features.contracts import FROM_FILES, Table, table_named
from features.errors import ContractError

TIME_UNITS: Final = ("s", "ms", "us")
_OPTIONS: Final = ("time_unit", "separator", "encoding")


@dataclass(frozen=True)
class TableMapping:
    """How the columns of one file become those of one table.

    Attributes
    ----------
    columns : mapping
        Contract column → column of the file.
    defaults : mapping
        Contract column → value where the file has none (no such column, or an empty cell).
    time_unit : str
        `s`, `ms`, `us`, or empty: decided by the size of the numbers.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, str | int | float] = field(default_factory=dict)
    time_unit: str = ""
    separator: str = ","
    encoding: str = "utf-8"

    def sources(self, table: Table, available: frozenset[str] | set[str]) -> dict[str, str]:
        """Return contract column → column of the file, for the columns the file has.

        A column of the file that is mapped to another name does not also count under its own.
        """
        taken = set(self.columns.values())
        own = {name: name for name in table.schema.names() if name in available and name not in taken}
        return own | {name: source for name, source in self.columns.items() if source in available}


def load_mapping(path: Path) -> dict[str, TableMapping]:
    """Read a mapping file: table name → mapping; anything unknown in it is a `ContractError`."""
    try:
        sections = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ContractError(str(path), "", f"is not valid TOML ({error}); mend the file.") from error
    except OSError as error:
        raise ContractError(str(path), "", f"cannot be read ({error.strerror}).") from error
    return {name: _table_mapping(path, name, section) for name, section in sections.items()}


def _table_mapping(path: Path, name: str, section: Any) -> TableMapping:
    if name not in FROM_FILES or not isinstance(section, dict):
        raise ContractError(str(path), name, f"is no table; use sections named {', '.join(FROM_FILES)}.")
    known = table_named(name).schema.names()
    defaults = section.get("defaults", {})
    columns = {key: value for key, value in section.items() if key != "defaults" and key not in _OPTIONS}
    for key, value in columns.items():
        if key not in known or not isinstance(value, str):
            raise ContractError(
                str(path), f"{name}.{key}", f"must be a column of {name} ({', '.join(known)}) and text."
            )
    if not isinstance(defaults, dict) or not all(
        k in known and isinstance(v, str | int | float) for k, v in defaults.items()
    ):
        raise ContractError(str(path), f"{name}.defaults", f"must give plain values for columns of {name}.")
    options = {key: str(section[key]) for key in _OPTIONS if key in section}
    if options.get("time_unit", "s") not in TIME_UNITS:
        raise ContractError(str(path), f"{name}.time_unit", "must be s, ms or us.")
    if len(options.get("separator", ",")) != 1:
        raise ContractError(str(path), f"{name}.separator", "must be one character.")
    try:
        codecs.lookup(options.get("encoding", "utf-8"))
    except LookupError as error:
        raise ContractError(str(path), f"{name}.encoding", "is not an encoding Python knows.") from error
    return TableMapping(columns, defaults, **options)
