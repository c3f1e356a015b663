"""Foreign and damaged files, full and read-only disks, and processes that share a store."""

import os
import sqlite3
import subprocess
import sys

import pytest

from ferembed.errors import StoreError
from ferembed.storage.embeddings import DiskStore, EmbeddingStore
from ferembed.storage.sqlite_file import FORMAT
from tests.conftest import fill_disk, run_python
from tests.helpers.stores import RECIPE, Counting, fetch, keys


def test_a_damaged_schema_is_an_error(tmp_path):
    """Found by tests/robustness: Python cannot decode what SQLite says of it."""
    path = tmp_path / "store.sqlite"
    DiskStore(path).fetch(RECIPE, keys(1), Counting([1]))
    content = path.read_bytes()
    assert b"ON vectors" in content
    path.write_bytes(content.replace(b"ON vectors", b"ON vect\xf8rs"))
    with pytest.raises(StoreError, match="no readable embedding store: its schema is damaged"):
        DiskStore(path).recipes()


def test_a_store_of_another_format_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "store.sqlite"
    fetch(DiskStore(path), [1])
    db = sqlite3.connect(path)
    for format in (FORMAT - 1, FORMAT + 1):
        db.execute(f"PRAGMA user_version = {format}")
        with pytest.raises(StoreError) as error:
            fetch(DiskStore(path), [1])
        assert f"is an embedding store, of format {format}; this version" in str(error.value)
        assert "Move the file away" in str(error.value)
    assert db.execute("SELECT count(*) FROM vectors").fetchone() == (1,)
    db.close()


def test_a_foreign_file_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "store.sqlite"
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE mine (x)")
    db.close()
    with pytest.raises(StoreError, match="is a database of others"):
        fetch(DiskStore(path), [1])
    path.write_text("a letter, " * 100)
    with pytest.raises(StoreError, match="is no readable embedding store: file is not a database"):
        fetch(DiskStore(path), [1])
    assert path.read_text().startswith("a letter")


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="folder of the embedding store .* cannot be made"):
        fetch(EmbeddingStore.open(tmp_path / "file" / "store.sqlite"), [1])
    with pytest.raises(StoreError, match="cannot be opened for writing"):
        fetch(EmbeddingStore.open(tmp_path), [1])


FORK = """
import os, sys, numpy as np
from ferembed.storage.embeddings import EmbeddingStore, EmbeddingSpec

def fetch(numbers):
    asked = []
    def compute(missing):
        asked.extend(missing)
        yield missing, np.ones((len(missing), 8), np.float32)
    keys = [bytes([number]) * 32 for number in numbers]
    EmbeddingStore.open(sys.argv[1]).fetch(EmbeddingSpec("f" * 64, "{}", 8), keys, compute)
    return asked

fetch([1, 2])
child = os.fork()
if not child:
    os.write(1, repr(fetch([1, 2, 3])).encode())
    os._exit(0)
os.waitpid(child, 0)
print(fetch([1, 2, 3, 4]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_store_opened_before_a_fork_serves_the_child(tmp_path):
    result = run_python(FORK, str(tmp_path / "store.sqlite"))
    assert result.stdout == "[2][3]\n", result.stderr


STORE = """
import sys, numpy as np
from ferembed.storage.embeddings import EmbeddingSpec, EmbeddingStore

store, task = EmbeddingStore.open(sys.argv[1]), sys.argv[2]
recipes = {name: EmbeddingSpec(name * 64, "{}", 64) for name in "ab"}

def compute(missing):
    for start in range(0, len(missing), 64):
        some = missing[start : start + 64]
        yield some, np.ones((len(some), 64), np.float32)

def fetch(name, count, must_store):
    keys = [f"{n:032d}".encode() for n in range(count)]
    return store.fetch(recipes[name], keys, compute, must_store=must_store)

if task == "fill":
    fetch("a", 2000, True), fetch("b", 500, True)
elif task == "show":
    print([(use.fingerprint[0], use.vectors) for use in store.recipes()])
elif task == "verify":
    print(store.verify())
elif task == "read":
    found = fetch("a", 2000, False)
    print(found.hits, found.computed, found.unstored)
elif task == "more":
    found = fetch("b", 1000, False)
    print(found.hits, found.computed, found.unstored, bool((found.vectors == 1).all()))
elif task == "prune":
    print(store.prune(fingerprint="b"))
elif task == "clear":
    print(store.prune())
"""


def store_task(path, task):
    done = subprocess.run(
        [sys.executable, "-c", STORE, str(path), task], capture_output=True, text=True, timeout=120
    )
    return done.stdout.strip(), done.stderr


def test_a_store_on_a_full_disk_is_read_pruned_and_cleared(small_disk):
    path = small_disk / "store.sqlite"
    assert store_task(path, "fill") == ("", "")
    fill_disk(small_disk)
    assert store_task(path, "verify") == ("(2500, 0)", "")
    assert store_task(path, "read") == ("2000 0 0", "")
    out, told = store_task(path, "more")
    assert out == "500 500 500 True"
    assert "StoreWarning: The embedding store" in told
    assert "Going on without it." in told
    assert store_task(path, "prune") == ("500", "")
    assert store_task(path, "show") == ("[('a', 2000)]", "")
    fill_disk(small_disk)
    assert store_task(path, "clear") == ("2000", "")
    assert store_task(path, "show") == ("[]", "")


def test_a_store_on_a_read_only_disk_is_read(small_disk):
    path = small_disk / "store.sqlite"
    store_task(path, "fill")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert store_task(path, "read") == ("2000 0 0", "")
    assert store_task(path, "verify") == ("(2500, 0)", "")
    assert store_task(path, "more")[0] == "500 500 500 True"
    assert "Read-only file system" in store_task(path, "clear")[1]
