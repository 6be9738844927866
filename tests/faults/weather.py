"""The weather of real processes: their clock, how slow their disk is, and how much still fits on it (weather.c)."""

import mmap
import struct
import subprocess
from pathlib import Path

ALL_FITS = -1
_SOURCE = Path(__file__).with_suffix(".c")
_FIELD = struct.Struct("<q")


class Weather:
    """Fine until told otherwise; every process started with `env` feels a change at once."""

    def __init__(self, directory: Path, home: Path) -> None:
        directory.mkdir(exist_ok=True)
        library, page = directory / "weather.so", directory / "weather"
        subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", library, _SOURCE, "-ldl"], check=True)
        page.write_bytes(bytes(16) + _FIELD.pack(ALL_FITS))
        with page.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), 3 * _FIELD.size)
        self.env = {
            "LD_PRELOAD": str(library), "POND_WEATHER": str(page), "POND_WEATHER_HOME": str(home.resolve()),
        }  # fmt: skip

    def clock_runs(self, ahead_s: float) -> None:
        """Let the wall clock be so many seconds ahead of the true one (behind: negative)."""
        _FIELD.pack_into(self._page, 0, round(ahead_s * 1e6))

    def syncs_take(self, longer_s: float) -> None:
        """Let every sync of a file below the home take so much longer."""
        _FIELD.pack_into(self._page, 8, round(longer_s * 1e6))

    def disk_has(self, room: int) -> None:
        """Let so many bytes more fit on the disk of the home; `ALL_FITS` makes room again."""
        _FIELD.pack_into(self._page, 16, room)
