"""Benchmarks, and the scripts that make the models that ship: `python -m benchmarks.NAME`."""
