"""The command `ferembed`."""

from ferembed.cli.app import main, run

__all__ = ["main", "run"]
