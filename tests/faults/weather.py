"""The weather of real processes: their clock, how slow their disk is, and how much still fits on it (weather.c)."""

import mmap
import struct
import subprocess
from pathlib import Path

ALL_FITS = -1
_SOURCE = Path(__file__).with_suffix(".c")
_PAGE = struct.Struct("<qqq1024s")  # struct weather of weather.c


class Weather:
    """Fine until told otherwise; every process started with `env` feels a change at once."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        library, page = directory / "weather.so", directory / "weather"
        subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", library, _SOURCE, "-ldl"], check=True)
        page.write_bytes(_PAGE.pack(0, 0, ALL_FITS, b""))
        with page.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), _PAGE.size)
        self.env = {"LD_PRELOAD": str(library), "POND_WEATHER": str(page)}

    def clock_runs(self, ahead_s: float) -> None:
        """Let the wall clock be so many seconds ahead of the true one (behind: negative)."""
        struct.pack_into("<q", self._page, 0, round(ahead_s * 1e6))

    def syncs_take(self, longer_s: float, disk: Path) -> None:
        """Let every sync of a file below `disk` take so much longer."""
        struct.pack_into("<1024s", self._page, 24, bytes(disk.resolve()))
        struct.pack_into("<q", self._page, 8, round(longer_s * 1e6))

    def disk_has(self, room: int, disk: Path) -> None:
        """Let so many bytes more fit into files below `disk`."""
        struct.pack_into("<1024s", self._page, 24, bytes(disk.resolve()))
        struct.pack_into("<q", self._page, 16, room)

    def disk_has_room(self) -> None:
        """Let everything fit again."""
        struct.pack_into("<q", self._page, 16, ALL_FITS)
