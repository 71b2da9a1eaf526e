"""Works up one year of daily weather by month: mean daily maximum and minimum, rain, wet days."""

from __future__ import annotations

import argparse
import csv
import json
import math
from pathlib import Path
from statistics import fmean


def monthly(rows: list[dict[str, str]], month: int) -> dict[str, float]:
    """The figures of one month; ``rows`` are the year's days. Temperatures in °C, rain in mm."""
    days = [row for row in rows if int(row["date"].split("/")[1]) == month]
    return {
        "month": month,
        "days": len(days),
        "max_c": round(fmean(float(day["temp_max"]) for day in days), 2),
        "min_c": round(fmean(float(day["temp_min"]) for day in days), 2),
        "rain_mm": round(math.fsum(float(day["precipitation"]) for day in days), 1),
        "wet_days": sum(float(day["precipitation"]) > 0 for day in days),
    }


def main() -> None:
    """Write the year's twelve months and its sum of rain as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path, help="CSV with date (Y/M/D), precipitation, temp_max, temp_min")
    parser.add_argument("year")
    parser.add_argument("target", type=Path)
    wanted = parser.parse_args()
    with wanted.table.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["date"].startswith(f"{wanted.year}/")]
    if not rows:
        parser.error(f"{wanted.table} has no day of {wanted.year}")
    months = [monthly(rows, month) for month in range(1, 13)]
    rain = round(math.fsum(month["rain_mm"] for month in months), 1)
    wanted.target.write_text(json.dumps({"year": wanted.year, "rain_mm": rain, "months": months}, indent=1) + "\n")
    print(f"{wanted.year}: {len(rows)} days, {rain} mm of rain")


if __name__ == "__main__":
    main()
