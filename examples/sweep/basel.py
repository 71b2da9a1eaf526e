"""Adds up the first terms of 1/1 + 1/4 + 1/9 + ... and says what is missing to pi^2/6."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path


def main(terms: int, target: Path) -> None:
    """Write {terms, sum, missing} to ``target``; fsum adds without loss, so the last digit counts."""
    total = math.fsum(1 / n**2 for n in range(1, terms + 1))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps({"terms": terms, "sum": total, "missing": math.pi**2 / 6 - total}) + "\n")
    print(f"{terms} terms: {total}")


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
