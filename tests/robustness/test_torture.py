"""The short form of the harness: a few files, kills and faults of each kind, from one seed."""

import json
import sys

import pytest

from tests.robustness import corpora, jobs, torture

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs the module resource")


@pytest.mark.parametrize("kind", corpora.KINDS)
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


def test_the_worker_notices_what_must_not_be(tmp_path, monkeypatch):
    """A check that cannot fail would prove nothing: foreign exceptions and deaths are counted."""
    monkeypatch.setitem(torture.os.environ, "PYTHONDONTWRITEBYTECODE", "1")
    tally = torture.Tally("store", tmp_path / "kept")
    torture.read_all("no such kind", [tmp_path / "missing.png"], tally)
    assert tally.counts["refused"] == 1
    (tmp_path / "grid.toml").write_text("")
    monkeypatch.setattr(torture, "SECONDS", "x")  # the worker ends before it reads
    torture.read_all("grid", [tmp_path / "grid.toml"], tally)
    assert "the process ended with 1" in tally.problems[0]
    assert (tmp_path / "kept" / "store" / "grid.toml").exists()


def test_the_table_in_security_md_is_that_of_the_published_run():
    result = json.loads(torture.RESULTS.read_text("utf-8"))
    assert torture.table(result) in torture.SECURITY.read_text("utf-8")
    assert result["problems"] == 0


@pytest.mark.parametrize("job", jobs.JOBS)
def test_a_killed_job_goes_on(job):
    tally = torture.Tally(job, None)
    torture.kill(job, 1, 20, tally)
    assert tally.problems == []
    assert tally.counts["went on"] == 1


@pytest.fixture
def shim(tmp_path):
    if library := torture.compile_shim(tmp_path):
        return library
    return pytest.skip("needs a C compiler on Linux")


@pytest.mark.parametrize("job", ["model", "atomic", "build-csv"])
def test_a_call_that_fails_is_told_and_costs_nothing_that_was_there(job, shim):
    tally = torture.Tally(job, None)
    torture.fault(job, 3, shim, tally)
    assert tally.problems == []
    assert sum(tally.counts.values()) == 3


@pytest.mark.parametrize("job", ["model", "atomic", "build-csv"])
def test_a_loss_of_power_leaves_the_old_output_or_all_of_the_new(job, shim):
    tally = torture.Tally(job, None)
    torture.power(job, 2, shim, tally)
    assert tally.problems == []
    assert tally.counts["went on"] > 0
