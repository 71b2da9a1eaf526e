"""Measurements beside named peers, on the machine at hand. Each module runs as ``python -m benchmarks.NAME``."""
