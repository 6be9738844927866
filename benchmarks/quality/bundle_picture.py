"""How a bundle is made, as a picture: `python -m benchmarks.quality.bundle_picture docs/guides/bundles-made.svg`.

The products and figures are made up to show the steps; measured ones are in `benchmarks.quality.together`.
"""

import sys
from html import escape
from pathlib import Path

BLUE, GREY, INK = "#1f6f8b", "#eef2f4", "#222"
CANDIDATES = [
    ("cake mix", "20 ×", True), ("birthday candles", "9 ×", True), ("cake mix, other size", "18 ×", False),
    ("eggs", "1.6 ×", False), ("bananas", "1.0 ×", False),
]  # fmt: skip


def box(x: float, y: float, width: float, text: str, fill: str = GREY, ink: str = INK) -> str:
    """Draw a box with a line of text."""
    return (
        f'<rect x="{x}" y="{y}" width="{width}" height="34" rx="6" fill="{fill}"/>'
        f'<text x="{x + width / 2}" y="{y + 22}" text-anchor="middle" fill="{ink}">{escape(text)}</text>'
    )


def draw() -> str:
    """Return the picture."""
    parts = [box(20, 130, 120, "frosting", BLUE, "#fff"), '<text x="20" y="118" fill="#667">1 asked around</text>']
    parts.append('<text x="20" y="296" font-size="11" fill="#99a">products and figures made up</text>')
    parts.append('<text x="230" y="22" fill="#667">2 what goes with it: times as often as by chance</text>')
    for row, (name, lift, stays) in enumerate(CANDIDATES):
        y = 36 + row * 52
        parts.append(f'<path d="M140 147L230 {y + 17}" stroke="{BLUE if stays else "#ccd"}" stroke-width="2"/>')
        parts.append(f'<text x="188" y="{y + (30 if row > 2 else 12)}" font-size="11">{lift}</text>')
        parts.append(box(230, y, 170, name, GREY if stays else "#fff", INK if stays else "#99a"))
    notes = {2: "a variant of another part", 3: "weak beside the strongest", 4: "no oftener than by chance"}
    parts += [f'<text x="410" y="{36 + r * 52 + 22}" font-size="11" fill="#99a">{t}</text>' for r, t in notes.items()]
    parts.append('<text x="600" y="22" fill="#667">3 all sets tried: price, stock, margin, variants</text>')
    parts.append('<path d="M400 53L600 130M400 105L600 150" stroke="#1f6f8b" stroke-width="2" fill="none"/>')
    parts.append(box(600, 122, 290, "frosting + cake mix + candles", BLUE, "#fff"))
    parts.append('<text x="600" y="176">4 price, saving, margin, evidence, a reason</text>')
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" width="960" height="310" font-family="sans-serif" font-size="13">'
        f'<rect width="100%" height="100%" fill="#fff"/>{"".join(parts)}</svg>\n'
    )


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(draw(), "utf-8")
