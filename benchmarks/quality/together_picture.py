"""The figures of `benchmarks.quality.together` as a picture, in plain SVG."""

from collections.abc import Mapping
from html import escape

COLOURS = {"Pond's bundle": "#1f6f8b", "most co-bought": "#99a8b2", "most popular": "#ccd3d8"}
WIDTH, LEFT, BAR, GAP = 720, 190, 22, 8


def draw_bars(strata: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """Draw for each stratum a bar for each system: the excess over chance with its interval, in % of later baskets."""
    most = max(row["excess_high"] for systems in strata.values() for row in systems.values())
    least = min(0.0, *(row["excess_low"] for systems in strata.values() for row in systems.values()))
    scale = (WIDTH - LEFT - 120) / (most - least)
    zero = LEFT - least * scale
    lines, y = [], 56
    for name, systems in strata.items():
        lines.append(f'<text x="12" y="{y}" font-weight="600">{escape(name)}</text>')
        y += 12
        for system, row in systems.items():
            x, width = zero + min(row["excess"], 0) * scale, abs(row["excess"]) * scale
            low, high = zero + row["excess_low"] * scale, zero + row["excess_high"] * scale
            middle = y + BAR / 2
            said = f"{100 * row['excess']:+.1f} (hit {100 * row['hit']:.1f}, chance {100 * row['by_chance']:.1f})"
            lines += [
                f'<text x="{LEFT - 10}" y="{middle + 4}" text-anchor="end">{escape(system)}</text>',
                f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{BAR}" fill="{COLOURS[system]}"/>',
                f'<path d="M{low:.1f} {middle}H{high:.1f}" stroke="#222" stroke-width="1.5"/>',
                f'<text x="{max(high, zero) + 6:.1f}" y="{middle + 4}" font-size="11">{said}</text>',
            ]
            y += BAR + GAP
        y += 24
    title = "Later baskets with the anchor that hold the partner, above chance (%)"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH + 140}" height="{y}" font-family="sans-serif" '
        f'font-size="13"><rect width="100%" height="100%" fill="#fff"/>'
        f'<text x="12" y="24" font-size="15">{title}</text>'
        f'<path d="M{zero:.1f} 40V{y - 16}" stroke="#bbb"/>{"".join(lines)}</svg>\n'
    )
