"""Count what the audit finds in FER2013, and how many faces have the same file contents.

python -m benchmarks.audit_fer2013 fer2013.zip
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

from ferembed import datasets
from ferembed.datasets.audit import audit
from ferembed.datasets.cleaning import clean

RESULTS = Path(__file__).parent / "results" / "audit_fer2013.json"


def main() -> None:
    data = datasets.open(sys.argv[1])
    found = audit(data)
    training, validation = data.mask("train"), data.mask("validation")
    duplicated = {
        name: int(np.isin(groups[validation], groups[training]).sum())
        for name, groups in (
            ("exact", audit(data, near_duplicates=False).groups),
            ("exact or near", found.groups),
        )
    }
    result = {
        "made_by": "benchmarks/audit_fer2013.py",
        "data": sizes(data),
        "summary": found.summary(),
        "by file hash": by_file_hash(data),
        "validation pictures with a copy in train": duplicated,
        "clean leaves": sizes(clean(data, found)),
    }
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    print(RESULTS.read_text())


def sizes(data: datasets.Dataset) -> dict[str, int]:
    return {split: sum(classes.values()) for split, classes in data.counts().items()}


def by_file_hash(data: datasets.Dataset) -> dict[str, int]:
    """The groups of files with the same bytes, as a user might look for duplicates."""
    rows = defaultdict(list)
    for row, source in enumerate(data.images):
        rows[hashlib.sha256(source.read_bytes()).digest()].append(row)  # type: ignore[union-attr]
    groups = [group for group in rows.values() if len(group) > 1]
    return {
        "groups": len(groups),
        "contradictory labels": sum(len(set(data.labels[group])) > 1 for group in groups),
        "across splits": sum(len(set(data.splits[group])) > 1 for group in groups),
    }


if __name__ == "__main__":
    main()
