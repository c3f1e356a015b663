"""Throw broken files, kills and faults at ferembed, and count what becomes of it.

    python -m tests.robustness.torture --files 1000 --kills 20 --seed 0 --output robustness.json
    make torture MINUTES=60

Everything is drawn from the seed. What must not happen, a signal, an exception that is none of
ferembed's, or a run beyond its limits of time or memory, is listed under "problems", and the file
that led to it is kept in the folder --keep.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from tests.robustness import corpora, jobs

ROOT = Path(__file__).parents[2]
SECONDS, MEGABYTES = 10, 1024  # what a file may take
_ERRORS = {"ENOSPC": 28, "EIO": 5, "EACCES": 13, "EINTR": 4}
_MOST_FAULTS = 400
PACKAGES = ("ferembed", "numpy", "pillow", "opencv-python", "scikit-learn", "h5py")
RESULTS = ROOT / "benchmarks" / "results" / "robustness.json"
SECURITY = ROOT / "SECURITY.md"
_BEGIN, _END = "<!-- torture -->", "<!-- end -->"


class Tally:
    """What became of the files, kills and faults of one kind."""

    def __init__(self, kind: str, keep: Path | None) -> None:
        self.kind, self.keep = kind, keep
        self.seeds: set[int] = set()
        self.counts: Counter[str] = Counter()
        self.problems: list[str] = []
        self.slowest = 0.0
        self.peak = 0

    def problem(self, text: str, file: Path | None = None) -> None:
        self.counts["problem"] += 1
        self.problems.append(text[:400])
        if self.keep and file is not None and file.exists():
            place = self.keep / self.kind.replace(" ", "-")
            place.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if file.is_dir() else shutil.copy
            copy(file, place / file.name)

    def facts(self) -> dict[str, Any]:
        total = sum(self.counts.values())
        return {
            "runs": total,
            "seeds": sorted(self.seeds),
            **dict(sorted(self.counts.items())),
            "slowest_seconds": round(self.slowest, 2),
            "peak_megabytes": self.peak,
            "problems": self.problems[:20],
        }


def read_all(kind: str, paths: Iterable[Path], tally: Tally) -> list[str]:
    """Have worker processes read the files; what became of each.

    A worker that dies is replaced after its file.
    """
    waiting, outcomes = list(paths), []
    while waiting:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
        with subprocess.Popen(
            [sys.executable, "-m", "tests.robustness.worker", kind, str(SECONDS), str(MEGABYTES)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
            env=environment,
        ) as worker:
            assert worker.stdin is not None
            assert worker.stdout is not None
            answered = 0
            try:
                for path in waiting:
                    worker.stdin.write(f"{path}\n")
                    worker.stdin.flush()
                    line = worker.stdout.readline()
                    if not line:
                        break
                    _, outcome, took, peak = json.loads(line)
                    answered += 1
                    outcomes.append(outcome)
                    tally.slowest = max(tally.slowest, took)
                    tally.peak = max(tally.peak, peak)
                    if outcome in ("read", "refused"):
                        tally.counts[outcome] += 1
                    else:
                        tally.problem(f"{path.name}: {outcome}", path)
                worker.stdin.close()
            except BrokenPipeError:
                pass
            code = worker.wait()
        if answered < len(waiting):
            path = waiting[answered]
            tally.problem(f"{path.name}: the process ended with {code}", path)
            outcomes.append(f"ended with {code}")
            answered += 1
        waiting = waiting[answered:]
    return outcomes


def models(count: int, seed: int, folder: Path) -> Iterator[Path]:
    """Mutated models, with sizes and hashes that fit."""
    from ferembed import Pipeline
    from ferembed.heads import HEADS

    rng = np.random.default_rng([seed, 7])
    faces = rng.integers(0, 256, (24, 48, 48), dtype=np.uint8)
    labels = ["happy", "sad", "angry"] * 8
    small = {
        "approximate-knn": {"n_neighbors": 3},
        "knn": {"n_neighbors": 3},
        "bagged-svm": {"n_estimators": 2, "max_samples": 20},
    }
    for name in HEADS:
        head = HEADS[name].make().set_params(**small.get(name, {}))
        made = Pipeline("cnn-a", head, weights="random", store="memory", detector=None)
        made.fit(faces, labels).save(folder / "seeds" / name)
    for number in range(count):
        name = HEADS.names()[number % len(HEADS.names())]
        out = folder / f"{number:06d}-{name}"
        corpora.mutate_model(folder / "seeds" / name, out, rng)
        yield out


def stores(count: int, seed: int, folder: Path) -> Iterator[Path]:
    """Mutated embedding stores."""
    from ferembed.storage.embeddings import DiskStore, EmbeddingSpec

    def compute(missing: list[int]) -> Iterator[tuple[list[int], Any]]:
        yield missing, np.full((len(missing), 8), 2, np.float32)

    whole = folder / "seed.sqlite"
    keys = [f"{n:032d}".encode() for n in range(20)]
    store = DiskStore(whole)
    store.fetch(EmbeddingSpec("f" * 64, "{}", 8), keys, compute)
    del store
    content = whole.read_bytes()
    rng = np.random.default_rng([seed, 8])
    for number in range(count):
        path = folder / f"{number:06d}.sqlite"
        path.write_bytes(corpora.mutate_bytes(content, rng))
        yield path


def journals(count: int, seed: int, folder: Path) -> Iterator[Path]:
    """Mutated journals of a run over three photos, beside its model."""
    import PIL.Image

    from ferembed import Pipeline
    from ferembed.media.journal import open_journal
    from ferembed.media.photos import read_photos

    rng = np.random.default_rng([seed, 10])
    faces = rng.integers(0, 256, (9, 48, 48), dtype=np.uint8)
    made = Pipeline("cnn-a", "softmax", weights="random", store="memory", detector=None)
    made.fit(faces, ["happy", "sad", "angry"] * 3).save(folder / "model")
    photos = [str(folder / f"{name}.png") for name in "abc"]
    for photo, face in zip(photos, faces, strict=False):
        PIL.Image.fromarray(face).save(photo)
    pipeline = Pipeline.load(folder / "model", store="none")
    kept = open_journal(str(folder / "x"), pipeline, None, "en")
    with suppress(KeyboardInterrupt), kept as journal:
        list(read_photos(pipeline, photos, journal=journal))
        raise KeyboardInterrupt
    head, _, entries = (folder / "x.part").read_bytes().partition(b"\n")
    for number in range(count):
        path = folder / f"{number:06d}.csv.part"
        if rng.random() < 0.1:
            path.write_bytes(corpora.mutate_text(head + b"\n" + entries, rng))
        else:
            path.write_bytes(head + b"\n" + corpora.mutate_journal(entries, rng))
        yield path


MADE = {"model": models, "store": stores, "journal": journals}


def _job(name: str, folder: Path, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.robustness.jobs", name, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )


def _left_behind(folder: Path) -> list[str]:
    names = (path.name for path in folder.rglob("*"))
    return [name for name in names if name.startswith(".ferembed-") or name.endswith(".part")]


def kill(name: str, count: int, seed: int, tally: Tally) -> None:
    """kill -9 at random moments; after each the job must end well, and leave nothing behind."""
    rng = np.random.default_rng([seed, 9])
    for number in range(count):
        with tempfile.TemporaryDirectory(prefix="ferembed-kill-") as place:
            folder = Path(place)
            _earlier(name, folder)
            with _job(name, folder) as first:
                assert first.stdout is not None
                first.stdout.readline()  # "started": imports are not what is to be stopped
                time.sleep(float(rng.random()) * (0.05 if number % 2 else 1.0))
                first.send_signal(signal.SIGKILL)
                first.communicate()
            if damage := _damage(name, folder):
                tally.problem(f"kill {number}: {damage}")
                continue
            if error := _error_again(name, folder):
                tally.problem(f"kill {number}: {error}")
            elif left := _left_behind(folder):
                tally.problem(f"kill {number}: left behind {left[:3]}")
            else:
                tally.counts["went on"] += 1


def compile_shim(folder: Path) -> Path | None:
    """The library that makes a call fail, or None without a C compiler."""
    library = folder / "fault.so"
    source = Path(__file__).with_name("fault.c")
    if sys.platform != "linux" or not (compiler := shutil.which("gcc") or shutil.which("cc")):
        return None
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"]
    return library if subprocess.run(command, capture_output=True).returncode == 0 else None


def fault(name: str, most: int, shim: Path, tally: Tally) -> None:
    """Each write, rename and fsync of the job fails once: it says so, and going on ends well."""
    for number in range(1, most + 1):
        error = list(_ERRORS)[number % len(_ERRORS)]
        with tempfile.TemporaryDirectory(prefix="ferembed-fault-") as place:
            folder, struck = Path(place) / "work", Path(place) / "struck"
            folder.mkdir()
            settings = {
                "LD_PRELOAD": str(shim),
                "FAULT_AT": str(number),
                "FAULT_ERRNO": str(_ERRORS[error]),
                "FAULT_IN": str(folder),
                "FAULT_STRUCK": str(struck),
            }
            _earlier(name, folder)
            with _job(name, folder, **settings) as first:
                _, said = first.communicate(timeout=300)
            if not struck.exists():
                return  # the job makes no more calls than that
            if damage := _damage(name, folder):
                tally.problem(f"call {number} ({error}): {damage}")
                continue
            where = f"call {number} ({error})"
            if first.returncode not in (0, 2):
                tally.problem(f"{where}: ended with {first.returncode}: {said[-300:]}")
                continue
            if first.returncode == 2 and len(said.strip()) < 20:
                tally.problem(f"{where}: it does not say what went wrong: {said!r}")
                continue
            if again := _error_again(name, folder):
                tally.problem(f"{where}, then again: {again}")
            else:
                tally.counts["refused, then whole" if first.returncode else "whole"] += 1


def power(name: str, most: int, shim: Path, tally: Tally) -> None:
    """After each rename of the job the power is lost, and with it all that was not synced."""
    for number in range(1, most + 1):
        with tempfile.TemporaryDirectory(prefix="ferembed-power-") as place:
            folder, struck = Path(place) / "work", Path(place) / "struck"
            folder.mkdir()
            _earlier(name, folder)
            settings = {
                "LD_PRELOAD": str(shim),
                "POWER_AT": str(number),
                "FAULT_IN": str(folder),
                "FAULT_STRUCK": str(struck),
            }
            with _job(name, folder, **settings) as first:
                first.communicate(timeout=300)
            if not struck.exists():
                return
            if damage := _damage(name, folder):
                tally.problem(f"rename {number}: {damage}")
                continue
            if again := _error_again(name, folder):
                tally.problem(f"rename {number}, then again: {again}")
            else:
                tally.counts["went on"] += 1


def _error_again(name: str, folder: Path) -> str:
    """The end of the error of the job when it is run again, empty if it succeeds."""
    with _job(name, folder) as again:
        _, error = again.communicate(timeout=300)
    return (error[-300:] or f"ended with {again.returncode}") if again.returncode else ""


def _earlier(name: str, folder: Path) -> None:
    if name in jobs.EARLIER:
        jobs.EARLIER[name](folder)


def _damage(name: str, folder: Path) -> str:
    """What is wrong with the outputs: each must be that of an earlier run, or whole."""
    if name not in jobs.WHOLE:
        return ""
    with _job(f"check {name}", folder) as check:
        _, said = check.communicate(timeout=300)
    return said[-300:] if check.returncode else ""


def together(processes: int, tally: Tally) -> None:
    """So many processes fill one store at once."""
    with tempfile.TemporaryDirectory(prefix="ferembed-store-") as place:
        running = [_job("store", Path(place)) for _ in range(processes)]
        for process in running:
            out, said = process.communicate(timeout=600)
            if process.returncode or "done" not in out:
                tally.problem(said[-300:])
            else:
                tally.counts["whole"] += 1


class Run:
    """The tallies of a run, and the time and files that it may take."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.seed: int = options.seed
        self.tallies: dict[str, Tally] = {}
        self.until = time.monotonic() + 60 * (options.minutes or 0)

    def tally(self, kind: str) -> Tally:
        tally = self.tallies.setdefault(kind, Tally(kind, self.options.keep))
        tally.seeds.add(self.seed)
        return tally

    def over(self) -> bool:
        """Whether the minutes are over; without minutes, each part is done once."""
        return bool(self.options.minutes) and time.monotonic() >= self.until

    def facts(self) -> dict[str, Any]:
        return {
            "limits": {"seconds": SECONDS, "megabytes_over_imports": MEGABYTES},
            "versions": {
                "python": platform.python_version(),
                **{name: version(name) for name in PACKAGES},
            },
            "kinds": {kind: one.facts() for kind, one in self.tallies.items()},
            "problems": sum(one.counts["problem"] for one in self.tallies.values()),
        }


def _files(run: Run) -> None:
    for kind in (*corpora.KINDS, *MADE):
        if run.over():
            return
        with tempfile.TemporaryDirectory(prefix="ferembed-torture-") as place:
            count, folder = run.options.files, Path(place)
            made = (
                MADE[kind](count, run.seed, folder)
                if kind in MADE
                else corpora.files(kind, count, run.seed, folder)
            )
            read_all(kind, made, run.tally(kind))


def _kills(run: Run) -> None:
    for name in jobs.JOBS:
        if run.over():
            return
        kill(name, run.options.kills, run.seed, run.tally(f"kill -9: {name}"))


def _faults(run: Run) -> None:
    with tempfile.TemporaryDirectory(prefix="ferembed-shim-") as place:
        shim = compile_shim(Path(place))
        for name in jobs.JOBS if shim else ():
            if run.over():
                return
            fault(name, run.options.faults, shim, run.tally(f"fault: {name}"))
            power(name, run.options.faults, shim, run.tally(f"power loss: {name}"))


def _together(run: Run) -> None:
    together(4, run.tally("processes on one store"))


PARTS: dict[str, Callable[[Run], None]] = {
    "files": _files,
    "kills": _kills,
    "faults": _faults,
    "together": _together,
}


def torture(options: argparse.Namespace) -> dict[str, Any]:
    """Run the parts; the counts by kind. With minutes, they are repeated with other seeds."""
    run = Run(options)
    while True:
        for part in options.only or PARTS:
            PARTS[part](run)
        run.seed += 1
        if time.monotonic() >= run.until:
            return run.facts()


def table(result: dict[str, Any]) -> str:
    """The counts as Markdown, for SECURITY.md."""
    lines = ["| what | runs | read or went on | refused | problems |", "|---|---|---|---|---|"]
    for kind, facts in result["kinds"].items():
        refused = facts.get("refused", 0) + facts.get("refused, then whole", 0)
        problems = facts.get("problem", 0)
        fine = facts["runs"] - refused - problems
        lines.append(f"| {kind} | {facts['runs']:,} | {fine:,} | {refused:,} | {problems:,} |")
    return "\n".join(lines)


def publish(result: dict[str, Any]) -> None:
    """Write the counts to benchmarks/results, and their table into SECURITY.md.

    Kinds that this run did not try keep the counts of an earlier one.
    """
    earlier = json.loads(RESULTS.read_text("utf-8"))["kinds"] if RESULTS.exists() else {}
    kinds = {**earlier, **result["kinds"]}
    problems = sum(facts.get("problem", 0) for facts in kinds.values())
    result = {**result, "kinds": kinds, "problems": problems}
    RESULTS.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    before, _, rest = SECURITY.read_text("utf-8").partition(_BEGIN)
    after = rest.partition(_END)[2]
    SECURITY.write_text(f"{before}{_BEGIN}\n{table(result)}\n{_END}{after}", "utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--files", type=int, default=200, help="mutated files of each kind")
    parser.add_argument("--kills", type=int, default=5, help="kill -9 of each job")
    parser.add_argument("--faults", type=int, default=_MOST_FAULTS, help="calls that fail, at most")
    parser.add_argument("--minutes", type=float, help="repeat with other seeds for so long")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="a folder for the files that led to problems")
    parser.add_argument("--output", type=Path, help="a JSON file of the counts")
    parser.add_argument("--publish", action="store_true", help="write them into SECURITY.md, too")
    parser.add_argument("--only", nargs="+", choices=PARTS, help="only these parts")
    options = parser.parse_args()
    result = torture(options)
    if options.output:
        options.output.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    if options.publish:
        publish(result)
    print(table(result))
    for kind, facts in result["kinds"].items():
        for problem in facts["problems"]:
            print(f"{kind}: {problem}", file=sys.stderr)
    return 1 if result["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
