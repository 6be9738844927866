"""Everything that can go wrong, as one tree; each layer adds its leaves here or beside its own code.

    PondError                    one plain sentence that says what to do
    ├── UsageError               the caller asked for something that makes no sense        (exit 2)
    │   └── UnknownShop          no such shop under this POND_HOME
    ├── ContractError            data that breaks a table's contract                       (exit 3)
    │   ├── UnreadableFile       not the format its name says, not UTF-8, truncated, empty
    │   └── ChecksFailed         `pond check` found failures
    ├── GateRefused              a release that does not beat what it must beat            (exit 4)
    ├── ReleaseError             a release that cannot be used                             (exit 5)
    │   ├── LakeRewritten        the lake was rewritten while it was read
    │   └── ArtifactCorrupt      a file of a release or of the lake is not what was written
    ├── StorageFull              the disk (or the state server's memory) is full           (exit 3)
    └── ServiceUnreachable       the service or its state server does not answer           (exit 6)

Exit codes are given in `pond/cli/main.py` only, HTTP status codes in `service/problems.py` only.
"""

from collections.abc import Sequence


class PondError(Exception):
    """Base of all expected failures: its text is one plain sentence for the user, never a traceback."""


class UsageError(PondError):
    """The caller asked for something that makes no sense."""


class UnknownShop(UsageError):
    """There is no such shop under this POND_HOME."""

    def __init__(self, shop: str) -> None:
        self.shop = shop
        super().__init__(f"There is no shop named '{shop}'; create it with `pond shop create {shop}`.")


class ContractError(PondError):
    """Data that breaks the contract of a table.

    Parameters
    ----------
    table, column, rule
        Where and what; `column` may be empty when the rule is about the whole table.
    count
        Number of rows that break it, 0 when it is about the file.
    examples
        A few offending values, already shortened for display.
    """

    def __init__(self, table: str, column: str, rule: str, count: int = 0, examples: Sequence[str] = ()) -> None:
        self.table, self.column, self.rule, self.count, self.examples = table, column, rule, count, tuple(examples)
        where = f"{table}.{column}" if column else table
        many = f" ({count} rows, for example {', '.join(self.examples)})" if count and self.examples else ""
        super().__init__(f"{where}: {rule}{many}")


class NothingToJudge(ContractError):
    """Data too young or too few for any customer to be judged: they can be learned from all the same."""


class UnreadableFile(ContractError):
    """A file that is not what its name says: wrong format, not UTF-8, truncated, empty."""

    def __init__(self, path: str, why: str) -> None:
        self.path = path
        super().__init__(path, "", why)


class ChecksFailed(ContractError):
    """`pond check` found failures."""


class GateRefused(PondError):
    """A release that does not beat what it must beat."""


class ReleaseError(PondError):
    """A release that cannot be used."""


class LakeRewritten(ReleaseError):
    """A table of the lake was rewritten (somebody was erased on request) while it was being read."""

    def __init__(self, table: str) -> None:
        self.table = table
        super().__init__(
            f"The table {table} was rewritten while it was read, because a customer was erased; run the command again."
        )


class ArtifactCorrupt(ReleaseError):
    """A file of a release or of the lake is not what was written."""

    def __init__(self, path: str, why: str, advice: str = "restore it from a backup or train again") -> None:
        self.path, self.why = path, why
        super().__init__(f"{path}: {why}; {advice}.")


class StorageFull(PondError):
    """The disk, or the state server's memory, is full; nothing was half-written."""


class ServiceUnreachable(PondError):
    """The service or its state server does not answer."""
