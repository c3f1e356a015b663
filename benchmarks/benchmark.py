"""Search the best pipeline for a data set: the command `ferembed benchmark`, as a script.

    python -m benchmarks.benchmark quick faces --output out

Grids are named in ferembed/benchmark/grids, or are TOML files of one's own.
"""

import sys

from ferembed.cli import main

if __name__ == "__main__":
    sys.exit(main(["benchmark", *sys.argv[1:]]))
