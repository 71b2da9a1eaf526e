"""Makes one table of all sums, in results/table.txt, and prints it."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path


def main(folder: Path, digits: int) -> None:
    """One line a sum, ordered by the number of terms."""
    rows = sorted((json.loads(path.read_text()) for path in folder.glob("sum-*.json")), key=lambda row: row["terms"])
    lines = [f"{'terms':>9}  {'sum':<{digits + 2}}  missing"]
    lines += [f"{row['terms']:>9}  {row['sum']:.{digits}f}  {row['missing']:.3e}" for row in rows]
    lines += [f"{'pi^2/6':>9}  {math.pi**2 / 6:.{digits}f}"]
    text = "\n".join(lines) + "\n"
    (folder / "table.txt").write_text(text)
    print(text, end="")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
