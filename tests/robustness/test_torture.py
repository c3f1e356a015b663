"""The short form of the harness: a few files, kills and faults of each kind, from one seed."""

import json
import sys

import pytest

from tests.robustness import corpora, torture
from tests.robustness.conftest import JOBS

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs the module resource")
QUICK = ("picture PNG", "zip", "weights npz")  # the other kinds are slow tests


@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=() if kind in QUICK else pytest.mark.slow) for kind in corpora.KINDS],
)
def test_a_file_is_read_and_its_mutations_are_read_or_refused(kind, tmp_path):
    tally = torture.Tally(kind, None)
    files = corpora.files(kind, 12, 20, tmp_path)
    whole, *_ = torture.read_all(kind, [corpora.seed_file(kind, tmp_path), *files], tally)
    assert whole == "read"  # or its mutations would all be refused at the first check
    assert tally.problems == []
    assert tally.counts["read"] + tally.counts["refused"] == 13


@pytest.mark.parametrize("kind", ["store", "journal"])
def test_mutated_stores_and_journals_are_read_or_refused(kind, tmp_path):
    tally = torture.Tally(kind, None)
    torture.read_all(kind, torture.MADE[kind](12, 20, tmp_path), tally)
    assert tally.problems == []
    assert sum(tally.counts.values()) == 12


@pytest.mark.parametrize("kind", corpora.KINDS)
def test_files_are_the_same_for_a_seed(kind, tmp_path):
    folders = [tmp_path / name for name in "abc"]
    for folder, seed in zip(folders, (1, 1, 2), strict=True):
        folder.mkdir()
        list(corpora.files(kind, 3, seed, folder))
    first, again, other = ([p.read_bytes() for p in sorted(f.iterdir())] for f in folders)
    assert first == again != other


def test_the_worker_notices_forbidden_outcomes(tmp_path, monkeypatch):
    """A check that cannot fail would prove nothing: deaths and files without an end are counted."""
    tally = torture.Tally("store", tmp_path / "kept")
    assert torture.read_all("no such kind", [tmp_path / "missing.png"], tally) == ["refused"]
    (tmp_path / "grid.toml").write_text("")
    monkeypatch.setattr(torture, "MEGABYTES", "x")  # the worker ends before it reads
    torture.read_all("grid", [tmp_path / "grid.toml"], tally)
    assert "the process ended with 1" in tally.problems[0]
    assert (tmp_path / "kept" / "store" / "1-grid.toml").exists()


def test_the_table_in_security_md_is_that_of_the_published_run():
    result = json.loads(torture.RESULTS.read_text("utf-8"))
    assert torture.table(result) in torture.SECURITY.read_text("utf-8")
    assert result["problems"] == 0
    assert result["timed"]["problems"] == 0


def test_of_each_kind_the_larger_run_is_published_unless_a_smaller_found_problems(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(torture, "RESULTS", tmp_path / "results.json")
    monkeypatch.setattr(torture, "SECURITY", tmp_path / "SECURITY.md")
    torture.SECURITY.write_text("before <!-- torture -->old<!-- end --> after")

    def counts(runs, seed, **found):
        facts = {"runs": runs, "seeds": [seed], "read": runs, **found}
        return {"kinds": {"csv": facts}, "problems": found.get("problem", 0)}

    def published():
        return json.loads(torture.RESULTS.read_text("utf-8"))

    torture.publish(counts(20, 1))
    torture.publish(counts(4, 2), minutes=60)
    assert published()["kinds"]["csv"]["runs"] == 20
    assert published()["timed"] == {"minutes": 60, "runs": 4, "seeds": [2], "problems": 0}
    assert "`make torture MINUTES=60`: 4 runs, 0 problems." in torture.SECURITY.read_text("utf-8")
    torture.publish(counts(5, 3, problem=1))
    assert published()["problems"] == 1
    assert published()["timed"]["runs"] == 4
    assert torture.SECURITY.read_text("utf-8").endswith("<!-- end --> after")


@pytest.mark.parametrize("job", JOBS)
def test_a_killed_job_resumes(job, library):
    tally = torture.Tally(job, None)
    torture.kill(job, 2, 20, library, tally)
    assert tally.problems == []
    assert tally.counts["went on"] == 2


def test_the_harness_notices_lost_doubled_and_leftover_files(tmp_path):
    with torture.shared_of("store") as shared:
        sites = [tmp_path / name for name in ("whole", "lost", "left")]
        whole, lost, left = (torture.Site("store", place, shared) for place in sites)
        assert whole.run("first") == lost.run("first") == 0
        assert whole.faults() == ""
        (lost.folder / "store.sqlite").unlink()
        shared.files.remove("store.sqlite")
        assert "missing" in lost.faults()
        (left.folder / ".ferembed-x").touch()
        assert "left behind" in left.faults()


@pytest.mark.slow
@pytest.mark.parametrize("job", ["save", "atomic", "data csv"])
def test_a_failing_call_is_reported_and_leaves_outputs_untouched(job, shim):
    tally = torture.Tally(job, None)
    torture.fault(job, range(1, 4), shim, tally)
    assert tally.problems == []
    assert sum(tally.counts.values()) == 3


@pytest.mark.slow
@pytest.mark.parametrize("job", ["store", "save", "atomic", "data csv"])
def test_a_loss_of_power_leaves_the_old_output_or_all_of_the_new(job, shim):
    tally = torture.Tally(job, None)
    torture.power(job, range(1, 3), shim, tally)
    assert tally.problems == []
    assert tally.counts["went on"] > 0
