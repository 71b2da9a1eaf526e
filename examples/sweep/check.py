"""Fails unless what is missing after so many terms lies between its two known bounds."""

from __future__ import annotations

import sys

terms, missing = int(sys.argv[1]), float(sys.argv[2])
low, high = 1 / (terms + 1), 1 / terms
if not low < missing < high:
    sys.exit(f"after {terms} terms {missing} is missing: expected between {low} and {high}")
print(f"after {terms} terms {missing} is missing, between {low} and {high}")
