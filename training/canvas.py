"""From a figure to a PNG file, with the machine's fonts for what the standard one lacks."""

import warnings
from functools import lru_cache
from pathlib import Path
from typing import Final

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib.text import Text

DPI: Final = 150
CHINESE: Final = (
    "Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei", "PingFang SC",
    "Microsoft YaHei", "SimHei", "Droid Sans Fallback",
)  # fmt: skip


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a figure below a directory that is created; Chinese needs a font of the machine."""
    FigureCanvasAgg(figure)
    path.parent.mkdir(parents=True, exist_ok=True)
    for text in figure.findobj(Text):
        text.set_fontfamily(_families())
    with warnings.catch_warnings():
        # Where no font of the machine has Chinese characters a picture shows boxes; the names are in the report.
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        figure.savefig(path, dpi=DPI, bbox_inches="tight", pad_inches=0.15)
    return path


@lru_cache(maxsize=1)
def _families() -> list[str]:
    """Fonts to look a character up in: the standard one, then those of the machine that have Chinese."""
    there = {font.name for font in fontManager.ttflist}
    return ["DejaVu Sans", *(name for name in CHINESE if name in there)]
