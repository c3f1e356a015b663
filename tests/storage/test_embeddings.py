import resource
import signal
import sqlite3
import subprocess
import sys
import time

import numpy as np
import pytest

from ferembed.storage.embeddings import DiskStore, EmbeddingSpec, EmbeddingStore, MemoryStore
from tests.helpers.stores import OTHER, RECIPE, fetch, keys, vector


@pytest.fixture(params=["disk", "memory"])
def store(request, tmp_path):
    if request.param == "memory":
        return MemoryStore()
    return EmbeddingStore.open(tmp_path / "store.sqlite")


def test_computed_vectors_are_found_again(store):
    numbers = list(range(10))
    fetched, asked = fetch(store, numbers)
    assert asked == numbers
    assert (fetched.hits, fetched.computed) == (0, 10)
    again, asked = fetch(store, [9, 3, 20])
    assert asked == [2]
    assert (again.hits, again.computed) == (2, 1)
    assert again.vectors.tolist() == [vector(n).tolist() for n in (9, 3, 20)]


def test_a_recipe_does_not_see_the_vectors_of_another(store):
    fetch(store, [1, 2])
    fetched, asked = fetch(store, [1, 2], OTHER)
    assert asked == [0, 1]
    assert fetched.hits == 0


def test_duplicates_are_computed_once(store):
    fetched, asked = fetch(store, [5, 6, 5, 5])
    assert asked == [0, 1]
    assert fetched.computed == 2
    assert fetched.vectors.tolist() == [vector(n).tolist() for n in (5, 6, 5, 5)]


def test_failed_vectors_are_absent_and_the_others_are_stored(store):
    fetched, _ = fetch(store, [1, 2, 3, 2], leave_out=(1,))
    assert fetched.present.tolist() == [True, False, True, False]
    again, asked = fetch(store, [1, 2, 3])
    assert asked == [1]
    assert again.present.all()


def test_no_store_keeps_nothing():
    store = EmbeddingStore.open("none")
    assert fetch(store, [1, 1])[1] == [0]
    assert fetch(store, [1])[1] == [0]


def test_reading_makes_no_file(tmp_path):
    store = EmbeddingStore.open(tmp_path / "store.sqlite")
    assert store.recipes() == []
    assert store.verify() == (0, 0)
    assert store.prune() == 0
    assert not list(tmp_path.iterdir())


def test_a_file_may_be_removed_while_it_is_open(tmp_path):
    store = EmbeddingStore.open(tmp_path / "store.sqlite")
    fetch(store, [1])
    for file in tmp_path.iterdir():
        file.unlink()
    assert fetch(store, [1])[1] == [0]
    assert fetch(store, [1])[1] == []


def test_a_damaged_row_is_found_by_its_checksum_and_computed_again(tmp_path):
    path = tmp_path / "store.sqlite"
    store = EmbeddingStore.open(path)
    fetch(store, list(range(5)))
    db = sqlite3.connect(path)
    db.execute("UPDATE vectors SET vector = zeroblob(32) WHERE key = ?", keys(2))
    db.execute("UPDATE vectors SET vector = x'00' WHERE key = ?", keys(4))
    db.commit()
    db.close()
    fetched, asked = fetch(store, list(range(5)))
    assert asked == [2, 4]
    assert (fetched.hits, fetched.computed, fetched.damaged) == (3, 2, 2)
    assert fetched.vectors[2].tolist() == vector(2).tolist()
    assert fetch(store, list(range(5)))[0].damaged == 0


def test_verify_removes_what_is_damaged(tmp_path):
    path = tmp_path / "store.sqlite"
    store = EmbeddingStore.open(path)
    fetch(store, list(range(5)))
    db = sqlite3.connect(path)
    db.execute("UPDATE vectors SET checksum = checksum + 1 WHERE key = ?", keys(2))
    db.commit()
    db.close()
    assert store.verify() == (4, 1)
    assert store.verify() == (4, 0)


def test_the_list_of_recipes_and_pruning(tmp_path):
    store = EmbeddingStore.open(tmp_path / "store.sqlite")
    fetch(store, list(range(300)))
    fetch(store, list(range(300)))
    fetch(store, [1, 2], OTHER)
    uses = {use.fingerprint: use for use in store.recipes()}
    assert (uses[RECIPE.fingerprint].vectors, uses[RECIPE.fingerprint].hits) == (300, 300)
    assert (uses[OTHER.fingerprint].vectors, uses[OTHER.fingerprint].bytes) == (2, 64)
    assert store.prune(unused_since=time.time() - 60) == 0
    size = store.size()
    assert store.prune("ffff") == 300
    assert store.size() < size
    assert [use.fingerprint for use in store.recipes()] == [OTHER.fingerprint]
    assert store.prune() == 2


FILL = """
import resource, sys, numpy as np
from ferembed.errors import StoreError
from ferembed.storage.embeddings import EmbeddingStore, EmbeddingSpec

path, first, last, limit, pause = sys.argv[1], *map(int, sys.argv[2:6])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
recipe = EmbeddingSpec("f" * 64, "{}", 8)
numbers = list(range(first, last))

def compute(missing):
    import time
    for start in range(0, len(missing), 50):
        some = missing[start : start + 50]
        time.sleep(pause / 1000)
        yield some, np.array([np.arange(8) + numbers[i] for i in some], np.float32)
        print(len(some), flush=True)

try:
    EmbeddingStore.open(path).fetch(recipe, [f"{n:032d}".encode() for n in numbers], compute)
except StoreError as error:
    print("ERROR", error, flush=True)
"""


def fill(path, first, last, limit=0, pause=0):
    arguments = map(str, (path, first, last, limit, pause))
    return subprocess.Popen(
        [sys.executable, "-c", FILL, *arguments], stdout=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("lines", [1, 3, 7])
def test_a_kill_loses_at_most_the_batch_in_flight(tmp_path, lines):
    path = tmp_path / "store.sqlite"
    process = fill(path, 0, 5000, pause=5)
    for _ in range(lines):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    # A line is printed once the next batch is asked for, so after the one before was written.
    written = lines * 50 + sum(map(int, process.stdout.read().split()))
    process.wait()
    process.stdout.close()
    fetched, asked = fetch(DiskStore(path), list(range(5000)))
    assert written <= 5000 - len(asked) <= written + 50
    assert fetched.damaged == 0
    assert (fetched.vectors[:, 0] == np.arange(5000)).all()


def test_two_processes_fill_one_store(tmp_path):
    path = tmp_path / "store.sqlite"
    writers = [fill(path, 0, 3000), fill(path, 1500, 4500)]
    for writer in writers:
        out, _ = writer.communicate(timeout=120)
        assert "ERROR" not in out
        assert writer.returncode == 0
    fetched, asked = fetch(DiskStore(path), list(range(4500)))
    assert asked == []
    assert (fetched.vectors[:, 0] == np.arange(4500)).all()
    assert DiskStore(path).verify() == (4500, 0)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="needs a file size limit")
def test_a_full_disk_is_a_clear_error_and_the_work_done_stays(tmp_path):
    path = tmp_path / "store.sqlite"
    out, _ = fill(path, 0, 20_000, limit=400_000).communicate(timeout=120)
    assert "could not be written" in out
    assert "The batches written before are kept. Make room (ferembed cache prune)" in out
    written = sum(int(line) for line in out.split("ERROR")[0].split())
    assert written > 0
    _, asked = fetch(DiskStore(path), list(range(20_000)))
    assert written <= 20_000 - len(asked) < 20_000


def test_a_store_travels_to_other_processes_as_its_path(tmp_path):
    import pickle

    store = EmbeddingStore.open(tmp_path / "store.sqlite")
    fetch(store, [1])
    assert fetch(pickle.loads(pickle.dumps(store)), [1])[1] == []


@pytest.mark.parametrize("dim", [64, 256, 512, 1536, 2048])
def test_a_vector_takes_little_more_room_than_its_numbers(tmp_path, dim):
    store = EmbeddingStore.open(tmp_path / "store.sqlite")
    recipe = EmbeddingSpec("f" * 64, "{}", dim)
    numbers = np.arange(1000)
    vectors = np.random.default_rng(0).random((1000, dim), np.float32)
    store.fetch(recipe, keys(*numbers), lambda missing: [(missing, vectors[missing])])
    log = (tmp_path / "store.sqlite-wal").stat().st_size
    assert log < 4 * dim * 1000 + 6e6  # what is written at once, and what waited
    with sqlite3.connect(store.path) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    assert store.path.stat().st_size < 1.45 * 1000 * (4 * dim + 100)


def test_a_recipe_that_takes_the_number_of_a_pruned_one_lends_it_no_vectors(tmp_path, monkeypatch):
    monkeypatch.setattr("ferembed.storage.embeddings._LOOKUP", 1)
    store = EmbeddingStore.open(tmp_path / "store.sqlite")
    fetch(store, [1, 2])
    other = DiskStore(store.path)

    class Meanwhile(list):
        """Keys of which the second is looked up after another process has pruned and filled."""

        def __getitem__(self, part):
            if part.start == 1:
                other.prune()
                other.fetch(OTHER, keys(1, 2), lambda _: [([0, 1], np.ones((2, 8), np.float32))])
            return super().__getitem__(part)

    found, damaged = store.lookup(RECIPE, Meanwhile(keys(1, 2)))
    assert (list(found), damaged) == (keys(1), 0)


def test_a_fetch_counts_every_row_once(tmp_path):
    fetched, _ = fetch(DiskStore(tmp_path / "store.sqlite"), [1, 2, 1, 1])
    assert (fetched.hits, fetched.computed, fetched.duplicates) == (0, 2, 2)
    fetched, _ = fetch(DiskStore(tmp_path / "store.sqlite"), [1, 1, 3, 3])
    assert (fetched.hits, fetched.computed, fetched.duplicates) == (2, 1, 1)
