"""Makes table.txt and climate.svg from the monthly figures of all years, and prints the table."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
COLOURS = ("#4477aa", "#228833", "#ccbb44", "#ee6677", "#aa3377", "#66ccee")
WIDTH, HEIGHT, LEFT, BOTTOM = 640, 360, 50, 40
LOWEST_C, HIGHEST_C = 0, 30


def table(years: list[dict[str, Any]]) -> str:
    """A line a month: mean daily maximum of each year, then the mean rain of all."""
    lines = ["Seattle: mean daily maximum in C, and rain in mm (mean of the years)", ""]
    lines += ["month " + "".join(f"{year['year']:>7}" for year in years) + "    rain"]
    for index, name in enumerate(MONTHS):
        rain = sum(year["months"][index]["rain_mm"] for year in years) / len(years)
        lines += [f"{name:<6}" + "".join(f"{year['months'][index]['max_c']:7.1f}" for year in years) + f"{rain:8.1f}"]
    total = sum(year["rain_mm"] for year in years) / len(years)
    lines += ["rain  " + "".join(f"{year['rain_mm']:7.0f}" for year in years) + f"{total:8.1f}"]
    return "\n".join(lines) + "\n"


def place(month: float, max_c: float) -> tuple[float, float]:
    """Where a value stands in the picture, in pixels."""
    x = LEFT + (WIDTH - LEFT - 20) * month / 11
    y = HEIGHT - BOTTOM - (HEIGHT - BOTTOM - 40) * (max_c - LOWEST_C) / (HIGHEST_C - LOWEST_C)
    return round(x, 1), round(y, 1)


def picture(years: list[dict[str, Any]]) -> str:
    """An SVG with one line a year."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif"'
        ' font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="20" font-size="14">Seattle: mean daily maximum, °C</text>',
    ]
    for degrees in range(LOWEST_C, HIGHEST_C + 1, 5):
        (x1, y), (x2, _) = place(0, degrees), place(11, degrees)
        parts += [f'<line x1="{x1}" y1="{y}" x2="{x2}" y2="{y}" stroke="#dddddd"/>']
        parts += [f'<text x="{x1 - 8}" y="{y + 4}" text-anchor="end">{degrees}</text>']
    for index, name in enumerate(MONTHS):
        x, y = place(index, LOWEST_C)
        parts += [f'<text x="{x}" y="{y + 20}" text-anchor="middle">{name}</text>']
    for index, year in enumerate(years):
        colour = COLOURS[index % len(COLOURS)]
        points = " ".join("{},{}".format(*place(i, month["max_c"])) for i, month in enumerate(year["months"]))
        parts += [f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>']
        parts += [f'<text x="{WIDTH - 220 + 50 * index}" y="20" fill="{colour}">{year["year"]}</text>']
    return "\n".join([*parts, "</svg>"]) + "\n"


def main(folder: Path) -> None:
    """Read monthly-*.json in ``folder``; write the table and the picture beside them."""
    years = [json.loads(path.read_text()) for path in sorted(folder.glob("monthly-*.json"))]
    if not years:
        sys.exit(f"{folder}: no monthly-*.json")
    (folder / "table.txt").write_text(table(years))
    (folder / "climate.svg").write_text(picture(years))
    print(table(years), end="")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
