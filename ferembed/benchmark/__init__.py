"""Grid search over preprocessing, backbones and heads."""

from ferembed.benchmark.grid import Cell, Grid
from ferembed.benchmark.run import benchmark

__all__ = ["Cell", "Grid", "benchmark"]
