"""Throw broken files, kills and faults at ferembed, and count what becomes of it.

    python -m tests.robustness.torture --files 1000 --kills 20 --seed 0 --output robustness.json
    make torture MINUTES=60

Everything is drawn from the seed. What must not happen, a signal, an exception that is none of
ferembed's, or a run beyond its limits of time or memory, is listed under "problems", and the file
that led to it is kept in the folder --keep.
"""

from __future__ import annotations

import argparse
import http.server
import io
import itertools
import json
import multiprocessing
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import version
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import numpy as np

from tests.robustness import corpora, jobs, worker

ROOT = Path(__file__).parents[2]
_FAST = "/dev/shm" if os.path.isdir("/dev/shm") else None  # a file system in memory
SECONDS, MEGABYTES = 10, 1024  # what a file may take
_ERRORS = {"ENOSPC": 28, "EIO": 5, "EACCES": 13, "EINTR": 4}
_MOST_FAULTS = 400
PACKAGES = ("ferembed", "numpy", "pillow", "opencv-python", "scikit-learn", "h5py")
RESULTS = ROOT / "benchmarks" / "results" / "robustness.json"
SECURITY = ROOT / "SECURITY.md"
_BEGIN, _END = "<!-- torture -->", "<!-- end -->"


OUTCOMES = ("read", "refused", "went on", "whole", "refused, then whole", "problem")


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
            copy(file, place / f"{len(self.problems)}-{file.name}")

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

    def go_on(self, facts: dict[str, Any]) -> None:
        """Add to the counts of an earlier run."""
        self.seeds |= set(facts["seeds"])
        counts = {name: facts.get(name, 0) for name in OUTCOMES}
        self.counts.update({name: count for name, count in counts.items() if count})
        self.problems += facts["problems"]
        self.slowest = max(self.slowest, facts["slowest_seconds"])
        self.peak = max(self.peak, facts["peak_megabytes"])


_PROCESSES = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
_CHUNK = 200  # files that a worker is given at a time


def prepare(shim: Path | None = None, modules: Sequence[str] = worker.MODULES) -> None:
    """Start the process that all others are forked from, with the modules and the shim loaded."""
    _PROCESSES.set_forkserver_preload([jobs.__name__, worker.__name__, *modules])
    before = {name: os.environ.get(name) for name in ("LD_PRELOAD", "PYTHONPATH")}
    os.environ.update(PYTHONPATH=str(ROOT), TF_CPP_MIN_LOG_LEVEL="3")
    if shim:
        os.environ["LD_PRELOAD"] = str(shim)
    try:
        forkserver.ensure_running()
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


class _Process:
    """A process forked from the prepared one, and a pipe to it."""

    def __init__(self, work: Callable[..., None], *arguments: Any) -> None:
        self.pipe, other = _PROCESSES.Pipe()
        self.process = _PROCESSES.Process(target=work, args=(*arguments, other), daemon=True)
        self.process.start()
        other.close()

    def __enter__(self) -> _Process:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()
        self.process.close()

    def receive(self, seconds: float = 300) -> Any:
        """The next message of the process, None if it ended. After a timeout it is killed."""
        try:
            if self.pipe.poll(seconds):
                return self.pipe.recv()
        except (EOFError, ConnectionError):
            return None
        self.process.kill()  # it is in a decoder, where no signal handler runs
        return None

    def wait(self) -> int:
        """Its exit code; that of a signal is negative. 1000: it, or what it started, lives on."""
        self.process.join(300)
        code, until = self.process.exitcode, time.monotonic() + 10
        while code is not None and _lives(self.process.pid):
            if time.monotonic() > until:
                os.killpg(self.process.pid, signal.SIGKILL)
                return 1000
            time.sleep(0.01)
        return 1000 if code is None else code


def _lives(group: int | None) -> bool:
    """Whether a process of the group is left."""
    try:
        os.killpg(group or 0, 0)
    except ProcessLookupError:
        return False
    return True


def read_all(kind: str, paths: Iterable[Path], tally: Tally) -> list[str]:
    """Have worker processes read the files; what became of each.

    A worker that dies is replaced after its file. The files are deleted.
    """
    made, outcomes = iter(paths), []
    waiting: list[Path] = []
    more = True
    while more:
        with _Process(worker.serve, kind, SECONDS, MEGABYTES) as process:
            while waiting or (waiting := list(itertools.islice(made, _CHUNK))):
                process.pipe.send(waiting)
                for path in list(waiting):
                    outcome, took, peak = process.receive(15 * SECONDS) or (None, 0.0, 0)
                    if outcome is None:
                        outcome = f"the process ended with {process.wait()}"
                    waiting.remove(path)
                    outcomes.append(outcome)
                    tally.slowest = max(tally.slowest, took)
                    tally.peak = max(tally.peak, peak)
                    if outcome in ("read", "refused"):
                        tally.counts[outcome] += 1
                    else:
                        tally.problem(f"{path.name}: {outcome}", path)
                    _remove(path)
                    if outcome.startswith("the process ended"):
                        break
                else:
                    continue
                break
            else:
                more = False
    return outcomes


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


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


class Site:
    """A job on a folder of its own: what is there before, its runs, and the checks after them."""

    def __init__(self, name: str, place: Path, shared: Shared) -> None:
        self.name, self.place, self.shared = name, place, shared
        self.folder = place / "work"
        self.code(self.begin("earlier"))

    def begin(self, step: str, **environment: str) -> _Process:
        environment = {jobs.URL: self.shared.url, **environment}
        process = _Process(jobs.perform, self.name, step, str(self.place), environment)
        process.receive()  # "started": only the work is measured and stopped
        return process

    def code(self, process: _Process) -> int:
        """The exit code at the end, when the processes that it started have ended, too."""
        with process:
            return process.wait()

    def run(self, step: str = "first", **environment: str) -> int:
        return self.code(self.begin(step, **environment))

    def unbroken(self) -> tuple[float, int, list[str]]:
        """An unbroken run: its seconds, its calls that could fail, and the files that it leaves."""
        started = time.monotonic()
        with self.begin("unbroken", FAULT_AT="-1", FAULT_IN=str(self.folder)) as process:
            calls = process.receive()
            seconds = time.monotonic() - started
            assert process.wait() == 0, self.said()
        return seconds, calls, self.files()

    def killed_after(self, seconds: float) -> int:
        with self.begin("first") as process:
            time.sleep(seconds)
            process.process.kill()
            return process.wait()

    def said(self) -> str:
        """The end of what the last process said."""
        return (self.place / "said").read_text("utf-8", "replace")[-300:]

    def files(self) -> list[str]:
        """The files and folders in the folder, but for the logs and locks of its parts.

        TensorFlow deletes its own temporary files at the end of a process, which a kill prevents,
        and Python the file of 8 letters with which it tries a temporary folder.
        """
        names = (str(path.relative_to(self.folder)) for path in self.folder.rglob("*"))
        others = re.compile(r"-wal$|-shm$|\.lock$|^tmp/(__autograph_generated_file|\w{8}$)")
        return sorted(name for name in names if not others.search(name))

    def faults(self) -> str:
        """Run the job again after one that was stopped; what is wrong then, empty if nothing is."""
        if self.run("check"):
            return f"damaged: {self.said()}"
        shutil.copy(self.shared.unbroken / "outcome.npz", self.place)
        if self.run("again"):
            return self.said()
        if strange := set(self.files()) ^ set(self.shared.files):
            return f"left behind, or missing: {sorted(strange)[:3]}"
        return ""


class Shared:
    """An unbroken run of a job, to compare with, and the address of what it downloads."""

    def __init__(self, name: str, place: Path, url: str) -> None:
        self.name, self.unbroken, self.url = name, place, url
        self.seconds, self.calls, self.files = Site(name, place, self).unbroken()


@contextmanager
def shared_of(name: str) -> Iterator[Shared]:
    with (
        tempfile.TemporaryDirectory(prefix="ferembed-unbroken-", dir=_FAST) as place,
        serving() as url,
    ):
        yield Shared(name, Path(place), url)


def kill(name: str, count: int, seed: int, shim: Path | None, tally: Tally) -> None:
    """kill -9 at random moments: of its time, and of the calls that write.

    After each, the job runs again. It must end like an unbroken run, compute nothing twice, and
    leave nothing behind.
    """
    rng, killed = np.random.default_rng([seed, 9]), 0
    with shared_of(name) as shared:
        for number in range(2 * count):
            if killed == count:
                return
            with tempfile.TemporaryDirectory(prefix="ferembed-kill-", dir=_FAST) as place:
                site = Site(name, Path(place), shared)
                if shim and shared.calls and number % 2:
                    at = int(rng.integers(1, shared.calls + 1))
                    moment = f"call {at}"
                    code = site.run(FAULT_AT=str(at), FAULT_ERRNO="0", FAULT_IN=str(site.folder))
                else:
                    at = float(rng.random()) * shared.seconds
                    moment = f"{at:.3f} s"
                    code = site.killed_after(at)
                if code == 0:
                    continue  # it had ended before
                killed += 1
                if code != -signal.SIGKILL:
                    tally.problem(f"kill {number}: {code} {site.said()}")
                elif wrong := site.faults():
                    tally.problem(f"kill {number} at {moment}: {wrong}", site.folder)
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


def fault(name: str, calls: Iterable[int], shim: Path, tally: Tally) -> None:
    """Each of these writes, renames and fsyncs fails once: the job says so, and goes on later."""
    with shared_of(name) as shared:
        for number in calls:
            error = list(_ERRORS)[number % len(_ERRORS)]
            with tempfile.TemporaryDirectory(prefix="ferembed-fault-", dir=_FAST) as place:
                site, struck = Site(name, Path(place), shared), Path(place) / "struck"
                code = site.run(
                    FAULT_AT=str(number),
                    FAULT_ERRNO=str(_ERRORS[error]),
                    FAULT_IN=str(site.folder),
                    FAULT_STRUCK=str(struck),
                )
                if not struck.exists():
                    return  # the job makes no more calls than that
                where, said = f"call {number} ({error})", site.said()
                if code not in (0, 2):
                    tally.problem(f"{where}: ended with {code}: {said}")
                elif code == 2 and len(said.strip()) < 20:
                    tally.problem(f"{where}: it does not say what went wrong: {said!r}")
                elif wrong := site.faults():
                    tally.problem(f"{where}, then again: {wrong}", site.folder)
                else:
                    tally.counts["refused, then whole" if code else "whole"] += 1


def power(name: str, calls: Iterable[int], shim: Path, tally: Tally) -> None:
    """After each of these renames and fsyncs the power is lost, and with it what was not synced."""
    with shared_of(name) as shared:
        for number in calls:
            with tempfile.TemporaryDirectory(prefix="ferembed-power-", dir=_FAST) as place:
                site, struck = Site(name, Path(place), shared), Path(place) / "struck"
                site.run(POWER_AT=str(number), FAULT_IN=str(site.folder), FAULT_STRUCK=str(struck))
                if not struck.exists():
                    return
                if wrong := site.faults():
                    tally.problem(f"rename or fsync {number}: {wrong}", site.folder)
                else:
                    tally.counts["went on"] += 1


def together(name: str, processes: int, tally: Tally) -> None:
    """So many processes do the job in one folder at once: each ends well, or is told to wait."""
    with (
        shared_of(name) as shared,
        tempfile.TemporaryDirectory(prefix="ferembed-together-", dir=_FAST) as place,
    ):
        site = Site(name, Path(place), shared)
        codes = [site.code(one) for one in [site.begin("first") for _ in range(processes)]]
        if set(codes) - {0, 2} or 0 not in codes:
            tally.problem(f"{codes}: {site.said()}")
        elif wrong := site.faults():
            tally.problem(wrong)
        else:
            tally.counts["whole"] += codes.count(0)
            tally.counts["refused, then whole"] += codes.count(2)


@contextmanager
def serving() -> Iterator[str]:
    """The address of a server of this machine, for the jobs that download."""
    wheel = io.BytesIO()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(jobs.MEMBER, jobs.PUBLISHED)
        archive.writestr(
            "harness-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: harness\nVersion: 1\n"
        )
        archive.writestr("harness-1.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("harness-1.dist-info/RECORD", "")
    name = "harness-1-py3-none-any.whl"
    files = {
        "/published.bin": jobs.PUBLISHED,
        "/simple/harness/": f'<a href="/{name}">{name}</a>'.encode(),
        f"/{name}": wheel.getvalue(),
    }

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = files.get(self.path)
            if content is None:
                self.send_error(404)
                return
            start = int(self.headers.get("Range", "bytes=0-")[6:-1])
            self.send_response(206 if start else 200)
            self.send_header("ETag", '"1"')
            self.send_header(
                "Content-Type",
                "text/html" if self.path.endswith("/") else "application/octet-stream",
            )
            self.send_header("Content-Length", str(len(content) - start))
            if start:
                self.send_header(
                    "Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}"
                )
            self.end_headers()
            with suppress(ConnectionError):
                for at in range(start, len(content), 1 << 17):
                    self.wfile.write(content[at : at + (1 << 17)])
                    time.sleep(0.005)

        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class Run:
    """The tallies of a run, and the time and files that it may take."""

    def __init__(self, options: argparse.Namespace, shim: Path | None) -> None:
        self.options, self.shim = options, shim
        self.seed: int = options.seed
        self.tallies: dict[str, Tally] = {}
        self.until = time.monotonic() + 60 * (options.minutes or 0)
        if options.output and options.output.exists():
            earlier = json.loads(options.output.read_text("utf-8"))["kinds"]
            for kind, facts in earlier.items():
                self.tallies[kind] = Tally(kind, options.keep)
                self.tallies[kind].go_on(facts)

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

    def save(self) -> None:
        """Write the counts so far: a long run may be stopped."""
        if self.options.output:
            text = json.dumps(self.facts(), indent=1) + "\n"
            self.options.output.write_text(text, "utf-8")


def _files(run: Run) -> None:
    for kind in run.options.kinds:
        if run.over():
            return
        with tempfile.TemporaryDirectory(prefix="ferembed-torture-", dir=_FAST) as place:
            count, folder = run.options.files, Path(place)
            made = (
                MADE[kind](count, run.seed, folder)
                if kind in MADE
                else corpora.files(kind, count, run.seed, folder)
            )
            read_all(kind, made, run.tally(kind))
        run.save()


def _kills(run: Run) -> None:
    for name in run.options.jobs:
        if run.over():
            return
        kill(name, run.options.kills, run.seed, run.shim, run.tally(f"kill -9: {name}"))
        run.save()


def _faults(run: Run) -> None:
    all_calls = range(run.options.first_fault, run.options.faults + 1)
    for name in run.options.jobs if run.shim else ():
        for kind, attempt in (("fault", fault), ("power loss", power)):
            if run.over():
                return
            calls = itertools.takewhile(lambda _: not run.over(), all_calls)
            attempt(name, calls, run.shim, run.tally(f"{kind}: {name}"))
            run.save()


def _together(run: Run) -> None:
    for name in run.options.jobs:
        if run.over():
            return
        together(name, 4, run.tally(f"at once: {name}"))
    run.save()


PARTS: dict[str, Callable[[Run], None]] = {
    "files": _files,
    "kills": _kills,
    "faults": _faults,
    "together": _together,
}
_HEAVY = (
    "keras",
    "nncf",
    "ferembed.cli.app",
    "ferembed.training",
    "ferembed.benchmark",
    "ferembed.evaluation.html",
    "pip",
)


def torture(options: argparse.Namespace) -> dict[str, Any]:
    """Run the parts; the counts by kind. With minutes, they are repeated with other seeds."""
    parts = options.only or list(PARTS)
    with tempfile.TemporaryDirectory(prefix="ferembed-shim-") as place:
        run = Run(options, compile_shim(Path(place)))
        prepare(run.shim, [*worker.MODULES, *(() if parts == ["files"] else _HEAVY)])
        while True:
            for part in parts:
                PARTS[part](run)
            run.seed += 1
            if time.monotonic() >= run.until:
                return run.facts()


_OF_JOBS = ("kill -9", "fault", "power loss", "at once")
ORDER = (
    *corpora.KINDS,
    *MADE,
    *(f"{what}: {job}" for what in _OF_JOBS for job in jobs.JOBS),
)


def table(result: dict[str, Any]) -> str:
    """The counts as Markdown, for SECURITY.md."""
    lines = ["| what | runs | read or went on | refused | problems |", "|---|---|---|---|---|"]
    for kind, facts in result["kinds"].items():
        refused = facts.get("refused", 0) + facts.get("refused, then whole", 0)
        problems = facts.get("problem", 0)
        fine = facts["runs"] - refused - problems
        lines.append(f"| {kind} | {facts['runs']:,} | {fine:,} | {refused:,} | {problems:,} |")
    if timed := result.get("timed"):
        lines += [
            "",
            "`make torture MINUTES={minutes}`: {runs:,} runs, {problems} problems.".format(**timed),
        ]
    return "\n".join(lines)


def publish(result: dict[str, Any], minutes: float | None = None) -> None:
    """Write the counts to benchmarks/results, and their table into SECURITY.md.

    A kind keeps the counts of an earlier run with more files, kills or faults, unless this one
    found problems. With `minutes`, the totals of this run are saved as those of a timed run.
    """
    earlier = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {"kinds": {}}
    found = dict(earlier["kinds"])
    for kind, facts in result["kinds"].items():
        if facts.get("problem") or facts["runs"] >= found.get(kind, facts)["runs"]:
            found[kind] = facts
    kinds = {kind: found[kind] for kind in ORDER if kind in found}
    problems = sum(facts.get("problem", 0) for facts in kinds.values())
    timed = earlier.get("timed")
    if minutes:
        tried = result["kinds"].values()
        timed = {
            "minutes": round(minutes),
            "runs": sum(facts["runs"] for facts in tried),
            "seeds": sorted({seed for facts in tried for seed in facts["seeds"]}),
            "problems": result["problems"],
        }
    result = {**result, "kinds": kinds, "problems": problems, **({"timed": timed} if timed else {})}
    RESULTS.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    before, _, rest = SECURITY.read_text("utf-8").partition(_BEGIN)
    after = rest.partition(_END)[2]
    SECURITY.write_text(f"{before}{_BEGIN}\n{table(result)}\n{_END}{after}", "utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--files", type=int, default=200, help="mutated files of each kind")
    parser.add_argument("--kills", type=int, default=5, help="kill -9 of each job")
    parser.add_argument("--faults", type=int, default=_MOST_FAULTS, help="the last call that fails")
    parser.add_argument("--first-fault", type=int, default=1, help="the first call that fails")
    parser.add_argument("--minutes", type=float, help="repeat with other seeds for so long")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="a folder for the files that led to problems")
    parser.add_argument(
        "--output", type=Path, help="a JSON file of the counts; those that are there are added to"
    )
    parser.add_argument("--publish", action="store_true", help="write them into SECURITY.md, too")
    kinds = [*corpora.KINDS, *MADE]
    parser.add_argument("--kinds", nargs="+", choices=kinds, default=kinds, help="only these files")
    parser.add_argument(
        "--jobs", nargs="+", choices=jobs.JOBS, default=list(jobs.JOBS), help="only these"
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, help="only these parts")
    options = parser.parse_args()
    result = torture(options)
    if options.output:
        options.output.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    if options.publish:
        publish(result, options.minutes)
    print(table(result))
    for kind, facts in result["kinds"].items():
        for problem in facts["problems"]:
            print(f"{kind}: {problem}", file=sys.stderr)
    return 1 if result["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
