"""A shop on disk: `POND_HOME/shops/<shop>/` with its lake, its releases and its `pond.toml` (DESIGN §2)."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from features.errors import ContractError, UnknownShop, UsageError
from features.ids import SHOP_NAME, validated_shop_name

MOST_STOCK: Final = 1e12


@dataclass(frozen=True, slots=True)
class Shop:
    """One tenant: where its files are and which clock it lives by.

    Attributes
    ----------
    name : str
        Matches `[a-z0-9][a-z0-9-]{0,40}`.
    root : Path
        Its directory.
    timezone : str
        IANA name; naive times are read in it, and the shop's day begins in it.
    low_stock : float
        Products with this much in stock or less are not shown; `[shop] low_stock` of `pond.toml`, obeyed without
        training or restart.
    """

    name: str
    root: Path
    timezone: str
    low_stock: float = 0.0

    @property
    def lake_dir(self) -> Path:
        """Where the Parquet tables are."""
        return self.root / "lake"

    @property
    def releases_dir(self) -> Path:
        """Where the trained releases are."""
        return self.root / "releases"

    @property
    def rejects_dir(self) -> Path:
        """Where rows that ingestion refused are kept."""
        return self.root / "rejects"

    @property
    def config_file(self) -> Path:
        """Its `pond.toml`."""
        return self.root / "pond.toml"

    def config(self) -> dict[str, Any]:
        """Read `pond.toml` as it is now."""
        return _read_toml(self.config_file)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError, OSError) as error:
        raise ContractError(str(path), "", f"is not valid TOML ({error}); mend the file.") from error


def validated_timezone(name: str) -> str:
    """Return an IANA time zone's name when it exists here, else raise."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise UsageError(f"'{name}' is not a time zone; use an IANA name such as Asia/Shanghai.") from error
    return name


def shop_root(home: Path, name: str) -> Path:
    """Return where the shop of that (validated) name stands."""
    return home / "shops" / validated_shop_name(name)


def create_shop(home: Path, name: str, timezone: str) -> Shop:
    """Create an empty shop; refuses when it exists."""
    root = shop_root(home, name)
    zone = validated_timezone(timezone)
    if (root / "pond.toml").exists():
        raise UsageError(f"The shop '{name}' exists already; choose another name or ingest into it.")
    for part in ("lake", "releases"):
        (root / part).mkdir(parents=True, exist_ok=True)
    (root / "pond.toml").write_text(f'[shop]\nname = "{name}"\ntimezone = "{zone}"\n', "utf-8")
    return Shop(name, root, zone)


def open_shop(home: Path, name: str) -> Shop:
    """Open an existing shop, or raise `UnknownShop`."""
    root = shop_root(home, name)
    if not (root / "pond.toml").exists():
        raise UnknownShop(name)
    _refuse_links_between_shops(home, root)
    settings = _read_toml(root / "pond.toml").get("shop", {})
    if not isinstance(settings, dict) or "timezone" not in settings:
        raise ContractError(str(root / "pond.toml"), "shop.timezone", 'is required, for example "Asia/Shanghai".')
    if settings.get("name", name) != name:
        raise ContractError(str(root / "pond.toml"), "shop.name", f"is '{settings['name']}', the directory '{name}'.")
    low_stock = settings.get("low_stock", 0)
    if isinstance(low_stock, bool) or not isinstance(low_stock, int | float) or not 0 <= low_stock < MOST_STOCK:
        raise ContractError(
            str(root / "pond.toml"), "shop.low_stock", "is a number from 0: with this much in stock or less, hide."
        )
    return Shop(name, root, validated_timezone(str(settings["timezone"])), float(low_stock))


def _refuse_links_between_shops(home: Path, root: Path) -> None:
    """Let a shop stand on another disk, but never on what another shop of this home is."""
    shops, own = (home / "shops").resolve(), root.name
    for part in (root, *(root / name for name in ("pond.toml", "lake", "releases", "rejects"))):
        found = part.resolve()
        if found.is_relative_to(shops) and found.relative_to(shops).parts[:1] != (own,):
            raise ContractError(str(part), "", "is a link into another shop; give each shop a directory of its own.")


def shop_names(home: Path) -> list[str]:
    """Names of the directories under a home that hold a shop, whether or not it can be opened."""
    names = (path.parent.name for path in sorted((home / "shops").glob("*/pond.toml")))
    return [name for name in names if SHOP_NAME.fullmatch(name)]


def list_shops(home: Path) -> list[Shop]:
    """All shops under a home, by name; one that cannot be opened is an error, and says which it is."""
    return [open_shop(home, name) for name in shop_names(home)]
