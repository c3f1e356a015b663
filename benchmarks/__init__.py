"""What measures ferembed and makes the models that ship: `python -m benchmarks.NAME`."""
