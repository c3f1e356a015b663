"""Grid search over preprocessing, backbones and heads."""

from ferembed.benchmark.cell import Cell
from ferembed.benchmark.grid import Grid
from ferembed.benchmark.run import benchmark

__all__ = ["Cell", "Grid", "benchmark"]
