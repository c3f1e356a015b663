from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("distributed")

from ferembed import cluster, datasets
from ferembed.datasets.audit import audit


def test_an_audit_on_a_cluster_equals_the_local_one(
    client: Any, faces_on_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ferembed.cluster.picture_facts._SIZE", 7)
    data = datasets.merge(datasets.open(faces_on_disk), datasets.open(faces_on_disk / "train"))
    here = audit(data)
    there = audit(data, gather_facts=partial(cluster.gather_facts, client=client))
    assert there.to_json() == here.to_json()
    assert there.groups.tolist() == here.groups.tolist()
    assert here.count("exact duplicates") > 0
    assert here.count("unreadable") > 0
