"""The command line: parse, one library call, print. What is heavy is imported where it is used."""

from __future__ import annotations

import argparse
import codecs
import gc
import json
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ferembed.errors import FerembedError, MissingExtra, UnknownName
from ferembed.registry import unknown

if TYPE_CHECKING:
    from ferembed.datasets import Dataset
    from ferembed.media.recording import Recording, Table
    from ferembed.pipeline import Pipeline

SOME_FAILED = 1  # some inputs could not be used; each is reported
FAILED = 2  # nothing was done; argparse uses the same
STOPPED = 130  # by Ctrl-C; shells use the same


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit code: 0 well, 1 some inputs failed, 2 nothing was done."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by the caller
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):  # names of files need not fit the terminal
            codecs.register_error("ferembed", _escaped)
            stream.reconfigure(errors="ferembed")
    parser = _parser()
    options = parser.parse_args(arguments)
    if not hasattr(options, "run"):
        parser.print_help()
        return FAILED
    try:
        code: int = options.run(options)
        sys.stdout.flush()
        return code
    except FerembedError as error:
        print(f"ferembed: {error}", file=sys.stderr)
        return FAILED
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except MemoryError:
        print("ferembed: not enough memory for that.", file=sys.stderr)
        return FAILED
    except OSError as error:
        print(
            f"ferembed: {error.filename or 'writing'}: {error.strerror or error}", file=sys.stderr
        )
        return FAILED
    except KeyboardInterrupt:
        print("ferembed: stopped; what was done and can be kept is kept.", file=sys.stderr)
        return STOPPED


class _Unheard:
    """Standard error, which stops nobody when its reader has gone."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            self._stream.write(text)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
        return len(text)


def _escaped(error: UnicodeError) -> tuple[str, int]:
    """What an encoding lacks, in the way of JSON."""
    assert isinstance(error, UnicodeEncodeError)
    part = error.object[error.start : error.end]
    return json.dumps(part)[1:-1], error.end


def run() -> NoReturn:
    """The command `ferembed`: a process that ends when `main` is done."""
    # So that what is half written goes, as by Ctrl-C.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    if sys.stderr is not None:
        sys.stderr = _Unheard(sys.stderr)
    code = main()
    gc.freeze()  # or Python looks for garbage in all that was imported before it exits: 0.1 s
    sys.exit(code)


def _demo(options: argparse.Namespace) -> int:
    from ferembed.media.demo import demo

    return demo(options.output, options.lang, "json" if options.json else "text")


def _predict(options: argparse.Namespace) -> int:

    gc.disable()  # importing makes many objects and no garbage: looking for it costs 0.1 s
    from tqdm import tqdm

    from ferembed.labels import in_order
    from ferembed.media.journal import keeping
    from ferembed.media.photos import read_photos, unpacked, writing
    from ferembed.media.video import find_videos
    from ferembed.storage.files import refuse_to_replace

    videos, files, passed_over = find_videos(options.photos, options.annotate)
    if videos:
        return _predict_videos(options, videos)
    if options.timeline:
        raise FerembedError("--timeline is drawn of videos, and none is named.")
    if passed_over:
        print(
            f"ferembed: {len(passed_over)} videos among the photos are passed over, such as "
            f"{passed_over[0]}. Read them by their names.",
            file=sys.stderr,
        )
    pipeline = _loaded(options)
    gc.enable()
    refuse_to_replace(files, options.output)
    photos = unpacked(files)
    format = _format(options)
    annotated = Path(options.annotate) if options.annotate else None
    failed = 0
    labels = in_order([str(label) for label in pipeline.classes_])
    with (
        keeping(options.output, pipeline, options.annotate, options.lang) as journal,
        writing(options.output, format, options.lang, labels) as write,
    ):
        if journal:
            print(f"ferembed: {len(journal)} photos were read before.", file=sys.stderr)
        bar = tqdm(photos, unit="photo", disable=True if options.quiet or len(photos) < 2 else None)
        for reading in read_photos(pipeline, bar, annotated, options.lang, journal):
            write(reading)
            if reading.error:
                failed += 1
                tqdm.write(f"ferembed: {reading.error}", file=sys.stderr)
    if failed and len(photos) > 1:
        print(f"ferembed: {failed} of {len(photos)} files could not be read.", file=sys.stderr)
    return SOME_FAILED if failed else 0


def _loaded(options: argparse.Namespace) -> Pipeline:
    """The model that is to read photos or videos."""
    from dataclasses import replace

    from ferembed.faces import FaceRecipe
    from ferembed.pipeline import Pipeline

    settings: dict[str, Any] = {"detector": options.detector} if options.detector else {}
    settings |= {name: getattr(options, name) for name in ("max_pixels", "store", "engine")}
    pipeline = Pipeline.load(options.model, **settings, **_prediction_settings(options))
    if options.whole:
        pipeline.set_params(detector=replace(FaceRecipe.of(pipeline.detector), whole=True))
    return pipeline


def _prediction_settings(options: argparse.Namespace) -> dict[str, Any]:
    """The settings of predictions that were given; the model's own stay where none was."""
    names = ("prior", "prior_strength", "expressions")
    return {name: getattr(options, name) for name in names if hasattr(options, name)}


def _format(options: argparse.Namespace) -> str:
    suffix = os.path.splitext(options.output or "")[1].lower()
    if suffix not in ("", ".csv", ".json", ".txt"):
        raise FerembedError(f"{options.output} ends in {suffix}: give .json, .csv or .txt.")
    return "json" if options.json or suffix == ".json" else "csv" if suffix == ".csv" else "text"


def _predict_videos(options: argparse.Namespace, videos: list[str]) -> int:
    from ferembed.media.recording import record_all
    from ferembed.storage.files import refuse_to_replace

    refuse_to_replace(videos, options.output, options.timeline)
    pipeline = _loaded(options)
    gc.enable()
    with _table(options, pipeline) as table, _bar(options, "frame") as progress:
        recordings = record_all(
            pipeline,
            videos,
            table,
            films=options.annotate,
            timelines=options.timeline,
            language=options.lang,
            every=options.every,
            smoothing=options.smoothing,
            progress=progress,
        )
        return _tell(options, recordings)


def _watch(options: argparse.Namespace) -> int:
    from ferembed.media.recording import has_display, record
    from ferembed.storage.files import refuse_to_replace

    refuse_to_replace([options.source], options.output, options.annotate, options.timeline)
    written = options.output or options.annotate or options.timeline
    window = not options.no_window and (has_display() or not written)
    pipeline = _loaded(options)
    with _table(options, pipeline) as table, _bar(options, "frame") as progress:
        recording = record(
            pipeline,
            int(options.source) if options.source.isdecimal() else options.source,
            table,
            film=options.annotate,
            timeline=options.timeline,
            window=window,
            language=options.lang,
            every=options.every,
            smoothing=options.smoothing,
            realtime=True,
            frames=options.frames,
            seconds=options.seconds,
            progress=progress,
        )
        code = _tell(options, [recording])
    return 0 if code == STOPPED else code  # that is how one ends it


def _table(options: argparse.Namespace, pipeline: Pipeline) -> Table:
    from ferembed.labels import in_order
    from ferembed.media.recording import Table

    labels = in_order([str(label) for label in pipeline.classes_])
    return Table(options.output, _format(options), options.lang, labels)


def _tell(options: argparse.Namespace, recordings: Iterable[Recording]) -> int:
    """Say what became of each recording; the exit code."""
    from tqdm import tqdm

    code = frames = 0
    for recording in recordings:
        frames += recording.frames
        kept = f"What was read until then, {recording.frames} frames, is kept."
        for note in recording.notes:
            tqdm.write(f"ferembed: {note}", file=sys.stderr)
        for error in recording.errors:
            code = SOME_FAILED
            line = f"ferembed: {error} {kept}" if recording.frames else f"ferembed: {error}"
            tqdm.write(line, file=sys.stderr)
        if recording.stopped:
            code = STOPPED
            tqdm.write(f"ferembed: {recording.video} was stopped. {kept}", file=sys.stderr)
        if recording.frames and _format(options) == "text" and not options.output:
            timeline = recording.timeline
            facts = f"{recording.video}: {recording.frames} frames, {timeline.seconds:.1f} s"
            tqdm.write(f"{facts}\n{timeline.text(options.lang)}", file=sys.stdout)
    return code if frames or not code else FAILED


def _embed(options: argparse.Namespace) -> int:
    from itertools import chain

    from ferembed.embedder import Embedder
    from ferembed.storage.files import refuse_to_replace, replacing

    embedder = Embedder(**_vector_settings(options))
    if options.output and not options.output.lower().endswith(".npz"):
        raise FerembedError(f"{options.output} would be an .npz. Give it a name that ends so.")
    images = _images(options)
    files = (image for image in images if isinstance(image, str))
    refuse_to_replace(chain(options.data, files), options.output)
    if options.output:
        import numpy as np

        from ferembed.images import describe

        embedded = embedder.embed(images)
        names = np.array([describe(images[i]) for i in embedded.positions])
        with replacing(Path(options.output)) as unfinished, unfinished.open("wb") as file:
            np.savez(file, vectors=embedded.vectors, names=names)
        parts = [embedded]
    else:
        parts = list(embedder.fill(images))
    failures = [failure for part in parts for failure in part.failures]
    _report_failures(failures)
    counts = {
        "computed": sum(part.computed for part in parts),
        "from_store": sum(part.hits for part in parts),
        "damaged": sum(part.damaged for part in parts),
        "failed": len(failures),
    }
    _print(
        options, counts, ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in counts.items())
    )
    return SOME_FAILED if failures else 0


def _images(options: argparse.Namespace) -> Sequence[Any]:
    from ferembed.media.photos import find_photos

    if len(options.data) > 1 or not options.data[0].lower().endswith((".zip", ".csv")):
        return find_photos(options.data)
    from ferembed import datasets
    from ferembed.errors import DataError

    try:
        return datasets.open(options.data[0], on_unknown="keep").images
    except DataError:
        if packed := datasets.pictures(options.data[0]):  # whose labels nobody asked for
            return packed
        raise


def _quantize(options: argparse.Namespace) -> int:
    from ferembed.embedder import Embedder
    from ferembed.pipeline import Pipeline

    if options.weights and not options.backbone:
        raise FerembedError("--weights goes with --backbone.")
    if options.backbone and options.model:
        raise FerembedError("Give --model or --backbone, not both.")
    if options.backbone:
        embedder = Embedder(**_backbones(options))
    else:
        embedder = Pipeline.load(options.model or "default").embedder
    failures = embedder.set_params(verbose=not options.quiet).quantize(_images(options))
    _report_failures(failures)
    names = [request.name for request in embedder.requests]
    _print(
        options,
        {"backbones": names, "failed": len(failures)},
        f"{' and '.join(names)}: ready for --engine openvino-int8.",
    )
    return SOME_FAILED if failures else 0


def _fit(options: argparse.Namespace) -> int:
    from ferembed.pipeline import Pipeline

    training = _part(_opened(options), options.split, "train")
    pipeline = Pipeline(head=options.head, **_vector_settings(options))
    if options.crop:
        pipeline.set_params(detector=options.crop)
        training = _cropped(options, training, options.crop)
    try:
        pipeline.set_params(**dict(options.set))
        pipeline.fit(training.images, training.labels, skip_unreadable=True)
    except (TypeError, ValueError) as error:  # scikit-learn's, of parameters that do not fit
        raise FerembedError(str(error)) from error
    pipeline.save(options.output)
    _report_failures(pipeline.failures_)
    counts = {
        "model": options.output,
        "faces": len(training) - len(pipeline.failures_),
        "computed": pipeline.computed_,
        "from_store": pipeline.from_store_,
        "failed": len(pipeline.failures_),
    }
    text = "{model}: fitted on {faces} faces ({computed} computed, {from_store} from the store)"
    _print(options, counts, text.format(**counts))
    return SOME_FAILED if pipeline.failures_ else 0


def _train(options: argparse.Namespace) -> int:
    from dataclasses import asdict, replace

    from ferembed.training import RECIPES, Recipe, train_backbone

    folder = Path(options.output)
    recipe = RECIPES.get(options.backbone, Recipe())
    if foreign := sorted(dict(options.set).keys() - asdict(recipe)):
        raise UnknownName(unknown("setting of a recipe", foreign[0], list(asdict(recipe))))
    pipeline = train_backbone(
        _opened(options),
        options.backbone,
        folder,
        replace(recipe, **dict(options.set)),
        weights=options.weights,
        training=options.split,
        validation=options.validation,
        verbose=not options.quiet,
    )
    pipeline.save(folder / "model")
    _report_failures(pipeline.failures_)
    epochs = json.loads((folder / "history.json").read_text("utf-8"))["epochs"]
    facts = {
        "model": str(folder / "model"),
        "weights": pipeline.weights,
        "epochs": len(epochs),
        "minutes": sum(row["seconds"] for row in epochs) / 60,
        "validation_accuracy": epochs[-1]["validation_accuracy"],
        "best_validation_accuracy": max(row["validation_accuracy"] for row in epochs),
        "curves": str(folder / "curves.png"),
        "failed": len(pipeline.failures_),
    }
    text = (
        "{model}: {epochs} epochs in {minutes:.0f} minutes, validation accuracy "
        "{validation_accuracy:.1%} in the last and {best_validation_accuracy:.1%} in the best\n"
        "Curves: {curves}. Fit other heads on it: ferembed fit DATA --weights {weights} "
        f"--backbone {options.backbone} --output MODEL"
    )
    _print(options, facts, text.format(**facts))
    return SOME_FAILED if pipeline.failures_ else 0


def _cropped(options: argparse.Namespace, data: Dataset, recipe: Any) -> Dataset:
    from ferembed import datasets

    with _bar(options) as progress:
        cropped = datasets.crop(data, recipe, progress)
    for reason, found in cropped.provenance[-1]["skipped"].items():
        count, first = found["count"], found["first"]
        print(f"ferembed: left out {count:,}: {reason}, first {first}", file=sys.stderr)
    return cropped


def _evaluate(options: argparse.Namespace) -> int:
    from ferembed.faces import FaceRecipe
    from ferembed.labels import CONTEMPT
    from ferembed.pipeline import Pipeline

    if options.output:
        from ferembed.evaluation.html.pages import open_folder

        open_folder(options.output)  # or a long run would end in nothing
    settings = {name: getattr(options, name) for name in ("store", "engine")}
    settings |= _prediction_settings(options)
    pipeline = Pipeline.load(options.model, verbose=not options.quiet, **settings)
    if not hasattr(options, "expressions"):
        options.expressions = 8 if CONTEMPT in pipeline.classes_.astype(str) else 7
    data, training = _part(_opened(options), options.split, "validation"), None
    if options.training:
        training = _part(_opened(options, path=options.training), None, "train")
    if options.crop:
        recipe = FaceRecipe.of(pipeline.detector)
        data = _cropped(options, data, recipe)
        training = training and _cropped(options, training, recipe)
    if options.output or training:
        return _report(options, pipeline, data, training)
    report, failures = pipeline.evaluate(data.images, data.labels)
    _report_failures(failures)
    facts = {**report.to_dict(), "split": data.split_of(0)}
    _print(options, facts, f"{report.table()}\n\n{_scored_on(data.split_of(0))}")
    return SOME_FAILED if failures else 0


def _report(
    options: argparse.Namespace, pipeline: Pipeline, data: Dataset, training: Dataset | None
) -> int:
    from ferembed.evaluation import evaluate
    from ferembed.evaluation.html.pages import write_report

    with _bar(options) as progress:
        evaluation = evaluate(
            pipeline,
            data,
            training,
            model=options.model,
            near=not options.no_near,
            progress=progress,
        )
    report = evaluation.report()
    facts = {**report.to_dict(), "split": evaluation.split}
    lines = [report.table(), "", _scored_on(evaluation.split)]
    if evaluation.copies is not None:
        copies, count = int(evaluation.copies.sum()), report.count
        line = f"{copies:,} of {count:,} faces have a copy in the training data"
        facts["copies"] = copies
        if copies < count:
            alone = evaluation.report(without_copies=True)
            facts["without_copies"] = alone.to_dict()
            line += f"; without them: accuracy {alone.accuracy:.2%}, macro F1 {alone.macro_f1:.3f}"
        lines += [f"{line[0].upper()}{line[1:]}."]
    if options.output:
        facts["page"] = str(write_report(options.output, evaluation, options.lang))
        lines += ["", f"Written: {facts['page']}, and report.md and report.json beside it."]
    for reason in evaluation.failures:
        print(f"ferembed: left out: {reason}", file=sys.stderr)
    _print(options, facts, "\n".join(lines))
    return SOME_FAILED if evaluation.failures else 0


def _scored_on(split: str) -> str:
    if split == "unsplit":
        return (
            "Scored on all faces, since the data set has no splits: if the model learned from "
            "them, they flatter it."
        )
    return f"Scored on the {split} split."


def _compare(options: argparse.Namespace) -> int:
    from ferembed.evaluation.comparison import Answers, compare

    comparison = compare(
        Answers.read(options.a),
        Answers.read(options.b),
        without_copies=options.without_copies,
        seed=options.seed,
    )
    _print(options, comparison.to_dict(), comparison.table())
    return 0


def _benchmark(options: argparse.Namespace) -> int:
    from dataclasses import asdict

    from ferembed.benchmark import benchmark
    from ferembed.benchmark.grid import Grid

    grid = Grid.named(options.grid, **dict(options.set))
    outcome = benchmark(
        grid,
        _opened(options),
        options.output,
        folds=options.folds,
        refit=options.refit,
        test=options.test,
        jobs=options.jobs,
        store=options.store,
        engine=options.engine,
        language=options.lang,
        verbose=not options.quiet,
    )
    for row in outcome.rows:
        if row["error"]:
            print(f"ferembed: {row['name']}: {row['error']}", file=sys.stderr)
    facts = {**asdict(outcome), "page": str(outcome.page)}
    _print(options, facts, f"{outcome.table()}\n\n{outcome.page}")
    if outcome.chosen is None:
        return FAILED
    return SOME_FAILED if outcome.failed else 0


def _describe(options: argparse.Namespace) -> int:
    from ferembed import datasets
    from ferembed.storage.files import refuse_to_replace

    with _bar(options) as progress:
        description = datasets.describe(_opened(options, progress), progress)
    if options.picture:
        refuse_to_replace([options.data], options.picture)
        description.picture(options.picture)
    _print(options, json.loads(description.to_json()), description.table())
    return 0


def _audit(options: argparse.Namespace) -> int:

    from ferembed.datasets.audit import audit
    from ferembed.faces import DETECTORS
    from ferembed.storage.files import refuse_to_replace, replacing

    refuse_to_replace([options.data], options.output, options.sheet)
    find_faces = DETECTORS[options.faces]() if options.faces else None
    with _bar(options) as progress:
        data = _opened(options, progress)
        found = audit(data, near=not options.no_near, find_faces=find_faces, progress=progress)
    if options.output:
        with replacing(Path(options.output)) as unfinished:  # names of files need not be UTF-8
            unfinished.write_text(found.to_json(), "utf-8", errors="backslashreplace")
    if options.sheet:
        found.contact_sheet(options.sheet)
    _print(options, found.summary(), found.table())
    return 0


def _build(options: argparse.Namespace) -> int:
    from ferembed.datasets.audit import build
    from ferembed.storage.files import refuse_within

    refuse_within(options.data, options.output)
    with _bar(options) as progress:
        data = build(
            [_opened(options, progress, path) for path in options.data],
            options.output,
            cropped=options.crop,
            cleaned=options.clean,
            proportions=options.split,
            pool=options.pool,
            per_class=options.balance,
            mirrored=options.mirror,
            size=options.size,
            seed=options.seed,
            progress=progress,
        )
    facts = {"output": options.output, "counts": data.counts(), "steps": list(data.provenance)}
    _print(options, facts, f"{options.output}: {data}")
    return 0


def _opened(options: argparse.Namespace, progress: Any = None, path: str = "") -> Dataset:
    from ferembed import datasets

    return datasets.open(
        path or options.data,
        labels=dict(options.label),
        classes=options.classes,
        on_unknown="drop" if options.drop_unknown else "error",
        on_bad="skip" if options.skip_bad else "error",
        table=options.table,
        columns=dict(options.column),
        votes=options.votes,
        expressions=getattr(options, "expressions", 7),
        progress=progress,
    )


@contextmanager
def _bar(
    options: argparse.Namespace, unit: str = "img"
) -> Iterator[Callable[[int, int | None], None]]:
    """A progress function for the library that moves a bar on a terminal."""
    from tqdm import tqdm

    disable = True if options.quiet else None
    with tqdm(unit=unit, unit_scale=unit == "B", disable=disable) as bar:

        def progress(done: int, total: int | None) -> None:
            if done < bar.n or total != bar.total:  # the next of several passes
                bar.reset(total)
            bar.update(done - bar.n)

        yield progress


def _part(data: Dataset, wanted: str | None, usual: str) -> Dataset:
    """The split that is wanted, else the usual one, else all of a data set without splits."""
    unsplit = data.mask("unsplit")
    if not wanted and unsplit.any() and not unsplit.all():
        print(
            f"ferembed: left out: {unsplit.sum():,} pictures that are in no split; --split unsplit "
            "takes those.",
            file=sys.stderr,
        )
    return data.split(wanted or ("unsplit" if unsplit.all() else usual))


def _models(options: argparse.Namespace) -> int:
    if options.action == "fetch":
        return _fetch(options)
    if options.name or options.source:
        raise FerembedError("A name and --from go with fetch: ferembed models fetch NAME.")
    from ferembed.backbones import BACKBONES
    from ferembed.faces import DETECTORS
    from ferembed.heads import HEADS
    from ferembed.persistence.bundle import shipped

    backbones = [BACKBONES[name] for name in BACKBONES]
    facts = {
        "models": shipped(),
        "backbones": [
            {
                "name": spec.name,
                "summary": spec.summary,
                "layers": dict(spec.layers),
                "parameters": spec.parameters,
                "weights": spec.weights
                and {
                    "file": spec.weights.file,
                    "here": spec.weights.find() is not None,
                    "licence": spec.weights.licence,
                    "trained_on": spec.weights.trained_on,
                },
            }
            for spec in backbones
        ],
        "heads": {name: HEADS[name].summary for name in HEADS},
        "detectors": list(DETECTORS),
    }
    lines = ["Models that ship: " + ", ".join(shipped()), "", "Backbones"]
    for spec in backbones:
        layers = ", ".join(f"{layer} ({dim})" for layer, dim in spec.layers)
        lines.append(f"  {spec.name}: {spec.summary}")
        lines.append(f"      {spec.parameters:,} parameters; layers {layers}")
        if spec.weights is None:
            lines.append("      bring or train its weights")
        else:
            here = "weights here" if spec.weights.find() else f"ferembed models fetch {spec.name}"
            lines.append(f"      {here}; trained on {spec.weights.trained_on}")
            lines.append(f"      licence: {spec.weights.licence}")
    lines += ["", "Heads", *(f"  {name:10} {HEADS[name].summary}" for name in HEADS)]
    lines += ["", "Detectors: " + ", ".join(DETECTORS)]
    _print(options, facts, "\n".join(lines))
    return 0


def _fetch(options: argparse.Namespace) -> int:

    from ferembed.backbones import BACKBONES, fetch_weights

    if not options.name:
        raise FerembedError("Say whose weights: ferembed models fetch NAME. See: ferembed models")
    source = Path(options.source) if options.source else None
    with _bar(options, "B") as progress:
        path = fetch_weights(options.name, source, progress)
    weights = BACKBONES[options.name].weights
    assert weights is not None
    facts = {
        "file": str(path),
        "bytes": path.stat().st_size,
        "sha256": weights.content,
        "known": bool(weights.sha256),
        "licence": weights.licence,
        "trained_on": weights.trained_on,
    }
    text = "{file}: {bytes:,} bytes, sha256 {sha256}\nLicence: {licence}. Trained on: {trained_on}."
    if not weights.sha256:
        text += (
            "\nNobody publishes its sha256. Its arrays have the names and shapes that they must "
            "have; from now on the file is held to the sha256 above."
        )
    _print(options, facts, text.format(**facts))
    return 0


def _serve(options: argparse.Namespace) -> int:
    from dataclasses import fields

    try:
        from ferembed.service import Settings, serve
    except ImportError as error:
        raise MissingExtra(
            f"The service needs {error.name}. Run: pip install 'ferembed[fast,serve]'"
        ) from error
    names = [field.name for field in fields(Settings)]
    serve(Settings.from_environment(**{name: getattr(options, name) for name in names}))
    return 0


def _cache(options: argparse.Namespace) -> int:
    from dataclasses import asdict

    from ferembed.storage.embeddings import EmbeddingStore, use_table

    store = EmbeddingStore.at(options.store)
    if options.action != "prune" and (options.recipe or options.days is not None):
        raise FerembedError(f"--recipe and --days go with prune, not with {options.action}.")
    if options.action == "verify":
        sound, damaged = store.verify()
        _print(
            options,
            {"sound": sound, "damaged": damaged},
            f"{sound} vectors are sound; {damaged} were damaged and have been removed.",
        )
        return SOME_FAILED if damaged else 0
    if options.action in ("prune", "clear"):
        import time

        if options.action == "prune" and not options.recipe and options.days is None:
            raise FerembedError(
                "Say what to prune: --recipe PREFIX, or --days N for what N days did not use. "
                "To remove everything: ferembed cache clear."
            )
        since = None if options.days is None else time.time() - options.days * 86400
        before = store.size()
        removed = store.prune(options.recipe if options.action == "prune" else None, since)
        freed = max(0, before - store.size())
        _print(
            options,
            {"removed": removed, "freed_bytes": freed},
            f"{removed} vectors removed, {freed / 1e6:.1f} MB freed.",
        )
        return 0
    recipes = store.recipes()
    facts = {
        "path": str(store.path),
        "bytes": store.size(),
        "recipes": [{**asdict(use), "facts": json.loads(use.facts)} for use in recipes],
    }
    _print(options, facts, f"{store.path}: {store.size() / 1e6:.1f} MB\n{use_table(recipes)}")
    return 0


def _print(options: argparse.Namespace, facts: dict[str, Any], text: str) -> None:
    if options.json:
        print(json.dumps(facts, ensure_ascii=False, indent=2))
    else:
        print(text)


def _report_failures(failures: Sequence[Any]) -> None:
    for failure in failures:
        print(f"ferembed: left out: {failure.reason}", file=sys.stderr)


def _vector_settings(options: argparse.Namespace) -> dict[str, Any]:
    settings = {name: getattr(options, name) for name in _OF_VECTORS}
    return {**settings, **_backbones(options), "verbose": not options.quiet}


def _backbones(options: argparse.Namespace) -> dict[str, Any]:
    settings = {}
    for name in ("backbone", "layer", "weights"):
        given = [value or None for value in getattr(options, name, ())]
        if given:  # a list of one is one for all
            settings[name] = given if len(given) > 1 else given[0]
    return settings


_OF_VECTORS = ("normalize", "symmetric", "store", "engine")


_AS_JSON = {"True": "true", "False": "false", "None": "null"}  # as Python writes them


def _setting(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE, such as head__C=10")
    try:
        return name, json.loads(_AS_JSON.get(value, value))
    except ValueError:
        return name, value


def _renaming(text: str) -> tuple[str, str | None]:
    name, equals, meaning = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=MEANING")
    return name, meaning or None


def _positive(text: str) -> int:
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _whole(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0")
    return int(text)


def _from_zero(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0")
    return number


def _prior(text: str) -> str | dict[str, float] | None:
    if text in ("uniform", "none"):
        return text if text == "uniform" else None
    try:
        pairs = (pair.split("=") for pair in text.split(","))
        return {label: float(share) for label, share in pairs}
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not uniform, none, or the share of each class: happy=0.5,sad=0.5"
        ) from None


def _share(text: str) -> float:
    if _from_zero(text) > 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return float(text)


def _proportions(text: str) -> dict[str, float]:
    try:
        parts = [float(part) for part in text.split("/")]
    except ValueError:
        parts = []
    if len(parts) not in (2, 3):
        raise argparse.ArgumentTypeError(f"{text!r} is not like 90/10 or 60/20/20")
    return dict(zip(("train", "validation", "test"), parts, strict=False))


def _parser() -> argparse.ArgumentParser:
    from ferembed import __version__

    parser = argparse.ArgumentParser(
        prog="ferembed",
        description="Read facial expressions in photos and videos, and train on your own.",
        epilog="examples:\n"
        "  ferembed demo\n"
        "  ferembed predict party.jpg\n"
        "  ferembed predict holidays/ --output faces.csv --annotate drawn/\n"
        "  ferembed watch --annotate me.mp4 --timeline me.png\n"
        "  ferembed fit fer2013.zip --head svm --output mine\n"
        "  ferembed evaluate mine fer2013.zip --split validation",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"ferembed {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    def command(
        name: str, run: Any, summary: str, example: str, group: Any = commands
    ) -> argparse.ArgumentParser:
        added: argparse.ArgumentParser = group.add_parser(
            name,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            epilog=f"example:\n  {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        added.add_argument("--json", action="store_true", help="print JSON")
        added.add_argument("--quiet", action="store_true", help="print no progress")
        added.set_defaults(run=run)
        return added

    def add_language(added: argparse.ArgumentParser) -> None:
        added.add_argument(
            "--lang", choices=("en", "es"), default="en", help="the language of the labels"
        )

    of_backbones = {
        "backbone": "see: ferembed models; several, each by its own --backbone, are joined",
        "layer": "the layer that is the embedding; one for all, or one for each backbone",
        "weights": "a file of weights, or 'random'; '' is what ships, where others differ",
    }

    def add_backbones(added: argparse.ArgumentParser, *names: str) -> None:
        for name in names:
            added.add_argument(f"--{name}", action="append", default=[], help=of_backbones[name])

    def add_vectors(added: argparse.ArgumentParser) -> None:
        add_backbones(added, *of_backbones)
        added.add_argument("--normalize", action="store_true", help="vectors of unit length")
        added.add_argument(
            "--symmetric", action="store_true", help="the mean of a face and its mirror image"
        )
        add_engine(added)

    def add_set(added: argparse.ArgumentParser, meaning: str) -> None:
        added.add_argument(
            "--set",
            type=_setting,
            action="append",
            default=[],
            metavar="NAME=VALUE",
            help=meaning,
        )

    def add_data(added: argparse.ArgumentParser, **options: Any) -> None:
        added.add_argument("data", help="class folders, a zip of them, or a CSV", **options)
        added.add_argument(
            "--label",
            type=_renaming,
            action="append",
            default=[],
            metavar="NAME=EXPRESSION",
            help="what another label means, such as boredom=neutral; NAME= leaves it out",
        )
        added.add_argument("--classes", nargs="+", metavar="CLASS", help="keep only these")
        added.add_argument(
            "--drop-unknown", action="store_true", help="leave out labels that are not known"
        )
        added.add_argument("--skip-bad", action="store_true", help="count and skip bad entries")
        added.add_argument("--table", metavar="CSV", help="which of several CSVs holds the labels")
        added.add_argument(
            "--column",
            type=_renaming,
            action="append",
            default=[],
            metavar="MEANING=NAME",
            help="what a CSV calls its columns: image=file, label=class",
        )
        added.add_argument(
            "--votes",
            choices=("majority", "probability", "multi-target"),
            default="majority",
            help="how FER+ votes become labels",
        )
        add_expressions(added, "the expressions of the data: 7, or 8 with contempt")

    def add_expressions(added: argparse.ArgumentParser, meaning: str) -> None:
        added.add_argument(
            "--expressions", type=int, choices=(7, 8), default=argparse.SUPPRESS, help=meaning
        )

    def add_prior(added: argparse.ArgumentParser) -> None:
        added.add_argument(
            "--prior",
            type=_prior,
            default=argparse.SUPPRESS,
            metavar="SHARES",
            help="the share of each class among these faces: uniform, happy=0.5,sad=0.5 (all "
            "classes), or none for the shares in training; without it as the model was saved",
        )
        added.add_argument(
            "--prior-strength",
            type=_share,
            default=argparse.SUPPRESS,
            metavar="S",
            help="how much of that is done, from 0 to 1",
        )

    def add_crop(added: argparse.ArgumentParser) -> None:
        added.add_argument(
            "--crop",
            nargs="?",
            const="mtcnn",
            metavar="DETECTOR",
            help="these are photos: cut out the surest face of each (mtcnn)",
        )

    def add_engine(added: argparse.ArgumentParser, store: str = "disk") -> None:
        added.add_argument(
            "--engine",
            default="auto",
            choices=("auto", "openvino", "openvino-bf16", "openvino-int8", "keras"),
            metavar="ENGINE",
            help="auto, openvino, openvino-bf16, openvino-int8 (after: ferembed quantize) or keras",
        )
        add_store(added, store)

    def add_store(added: argparse.ArgumentParser, store: str = "disk") -> None:
        added.add_argument(
            "--store",
            default=store,
            help=f"where vectors are kept: disk, none, or a file ({store})",
        )

    demo = command("demo", _demo, "read a photo and draw the answer", "ferembed demo --output out")
    demo.add_argument("--output", default="demo", help="the folder for the PNG and the JSON file")
    add_language(demo)

    def add_reading(added: argparse.ArgumentParser) -> None:
        added.add_argument("--model", default="default", help="a model that ships, or a path")
        added.add_argument(
            "--detector", help="mtcnn, haar, yunet, dlib, or none where the picture is the face"
        )
        added.add_argument(
            "--whole",
            action="store_true",
            help="where no face is found read the whole picture as one",
        )
        added.add_argument(
            "--max-pixels", type=_positive, default=100_000_000, help="refuse larger photos unread"
        )
        add_expressions(added, "predict 7, or 8 with contempt; else what the model knows")
        add_prior(added)
        add_engine(added, "none")
        add_language(added)

    def add_watching(added: argparse.ArgumentParser) -> None:
        added.add_argument(
            "--timeline", metavar="PNG", help="draw what each person in a video shows when"
        )
        added.add_argument(
            "--every",
            type=_positive,
            default=1,
            metavar="N",
            help="look for faces in every Nth frame; in between people are carried on",
        )
        added.add_argument(
            "--smoothing",
            type=_from_zero,
            default=0.5,
            metavar="SECONDS",
            help="the time constant of a person's probabilities; 0 leaves them as they are",
        )

    predict = command(
        "predict",
        _predict,
        "find the faces in photos or videos and say what they show",
        "ferembed predict *.jpg holidays/ --output faces.csv\n"
        "  ferembed predict clip.mp4 --output faces.csv --annotate drawn --timeline clip.png",
    )
    predict.add_argument(
        "photos", nargs="+", help="files, folders, globs or zips of photos, or videos"
    )
    add_reading(predict)
    predict.add_argument(
        "--output",
        help="a .json or .csv file instead of the terminal; of photos a stopped run goes on",
    )
    predict.add_argument("--annotate", metavar="FOLDER", help="write drawn copies there")
    add_watching(predict)

    watch = command(
        "watch",
        _watch,
        "follow the faces before a camera, or in a video as it runs",
        "ferembed watch 0 --annotate me.mp4 --timeline me.png",
    )
    watch.add_argument(
        "source", nargs="?", default="0", help="the number of a camera (0), or a video"
    )
    add_reading(watch)
    watch.add_argument("--output", help="a .json or .csv file instead of the terminal")
    watch.add_argument("--annotate", metavar="MP4", help="write the frames, drawn on")
    add_watching(watch)
    watch.add_argument("--no-window", action="store_true", help="show nothing")
    watch.add_argument("--frames", type=_positive, metavar="N", help="stop after so many frames")
    watch.add_argument("--seconds", type=_from_zero, help="stop after so many seconds")

    embed = command(
        "embed", _embed, "compute the vectors of faces and keep them", "ferembed embed faces/"
    )
    embed.add_argument("data", nargs="+", help="faces: files, folders, globs, or one data set")
    embed.add_argument("--output", help="write them to this .npz, too")
    add_vectors(embed)

    quantize = command(
        "quantize",
        _quantize,
        "make networks ready for the engine openvino-int8, by faces like those that they will see",
        "ferembed quantize faces/ --model default",
    )
    quantize.add_argument("data", nargs="+", help="faces: files, folders, globs, or one data set")
    quantize.add_argument("--model", help="whose networks, without --backbone: default, or a path")
    add_backbones(quantize, "backbone", "weights")

    fit = command(
        "fit",
        _fit,
        "fit a head on labelled faces",
        "ferembed fit fer2013.zip --head svm --set head__C=10 --output mine",
    )
    add_data(fit)
    fit.add_argument("--output", required=True, help="a folder, or a file that ends in .ferembed")
    fit.add_argument("--head", default="svm", help="see: ferembed models")
    fit.add_argument("--split", help="the split to learn from: train, or all if there are none")
    add_set(fit, "a parameter, such as head__C=10")
    add_crop(fit)
    add_vectors(fit)

    train = command(
        "train",
        _train,
        "train a backbone's network on labelled faces",
        "ferembed train fer2013.zip --backbone bn-cnn --output run\n"
        "  ferembed train faces/ --weights pretrained --set rate=0.01 --set epochs=10 --output run",
    )
    add_data(train)
    train.add_argument(
        "--output", required=True, help="a folder; called again, an unfinished run in it goes on"
    )
    train.add_argument("--backbone", default="mini-vgg", help="see: ferembed models")
    train.add_argument(
        "--weights", help="start from 'pretrained', or from an .npz; else from random ones"
    )
    train.add_argument("--split", default="train", help="the split to learn from")
    train.add_argument("--validation", default="validation", help="the split that is watched")
    add_set(train, "a setting of the recipe, such as epochs=20, rate=0.05 or keep=best")

    grid = command(
        "benchmark",
        _benchmark,
        "try a grid of pipelines and choose the best",
        "ferembed benchmark quick faces/ --output out\n"
        "  ferembed benchmark knn faces/ --set backbone=mini-vgg --folds 5 --output out",
    )
    grid.add_argument(
        "grid",
        help="a TOML file, or one of quick, svm, knn, forest, bagged-svm, preprocessing, "
        "architectures, vggface2, balanced",
    )
    add_data(grid)
    grid.add_argument(
        "--output", required=True, help="a folder; called again, only what is new is fitted"
    )
    add_set(grid, "what all cells have instead, such as backbone=cnn-a or head__C=[1,10]")
    grid.add_argument(
        "--folds",
        type=int,
        default=0,
        help="choose by so many folds of the training split, not by the validation split",
    )
    grid.add_argument(
        "--refit", action="store_true", help="fit the chosen one on training and validation"
    )
    grid.add_argument("--test", action="store_true", help="score the chosen one on the test split")
    grid.add_argument("--jobs", type=_whole, default=0, help="cells at once (as many as fit)")
    add_language(grid)
    add_engine(grid)

    evaluate = command(
        "evaluate",
        _evaluate,
        "score a model on labelled faces",
        "ferembed evaluate default fer2013.zip --split validation\n"
        "  ferembed evaluate default fer2013.zip --training fer2013.zip --output report",
    )
    evaluate.add_argument("model", help="a model that ships, or a path")
    add_data(evaluate)
    add_prior(evaluate)
    add_engine(evaluate)
    evaluate.add_argument(
        "--crop", action="store_true", help="these are photos: find the faces as the model does"
    )
    evaluate.add_argument(
        "--split", help="the split to score on: validation, or all if there are none"
    )
    evaluate.add_argument(
        "--output", metavar="FOLDER", help="write report.html, report.md and report.json there"
    )
    evaluate.add_argument(
        "--training",
        metavar="DATA",
        help="what the model learned from (of splits train): scores without copies of it, too, and "
        "the faces nearest to each mistake",
    )
    evaluate.add_argument("--no-near", action="store_true", help="look for exact copies alone")
    add_language(evaluate)

    compare = command(
        "compare",
        _compare,
        "say whether one result is better than another, or only luckier",
        "ferembed compare report-a report-b",
    )
    for letter in "ab":
        compare.add_argument(
            letter,
            metavar=letter.upper(),
            help="the folder or report.json of evaluate --output, or a cell of a grid",
        )
    compare.add_argument(
        "--without-copies",
        action="store_true",
        help="leave out faces with copies in the training data (from evaluate --training)",
    )
    compare.add_argument("--seed", type=_whole, default=0, help="the same seed, the same intervals")

    data = commands.add_parser(
        "data",
        help="describe, audit and build data sets",
        description="Describe, audit and build data sets.",
        epilog="example:\n  ferembed data describe fer2013.zip",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    kinds = data.add_subparsers(title="commands", metavar="COMMAND", required=True)
    describe = command(
        "describe",
        _describe,
        "count classes, splits and sizes",
        "ferembed data describe fer2013.zip --picture counts.png",
        kinds,
    )
    add_data(describe)
    describe.add_argument("--picture", metavar="PNG", help="draw the counts as bars")
    audit = command(
        "audit",
        _audit,
        "find copies, leaks, contradictions and damage",
        "ferembed data audit fer2013.zip --sheet faults.png --output faults.json",
        kinds,
    )
    add_data(audit)
    audit.add_argument("--output", metavar="JSON", help="the findings, as `clean` applies them")
    audit.add_argument("--sheet", metavar="PNG", help="a contact sheet of the findings")
    audit.add_argument("--faces", metavar="DETECTOR", help="look for pictures without a face, too")
    audit.add_argument("--no-near", action="store_true", help="look for exact copies alone")
    build = command(
        "build",
        _build,
        "merge, clean, split and balance data sets into a new one",
        "ferembed data build a.zip b/ --clean --split 60/20/20 --output mine",
        kinds,
    )
    add_data(build, nargs="+")
    build.add_argument("--output", "-o", required=True, help="a folder, or a file ending in .csv")
    add_crop(build)
    build.add_argument("--clean", action="store_true", help="leave out what the audit drops")
    build.add_argument(
        "--split", type=_proportions, help="train/validation/test, such as 60/20/20 or 90/10"
    )
    build.add_argument("--pool", action="store_true", help="split what is already split anew")
    build.add_argument("--balance", type=int, metavar="N", help="training pictures of each class")
    build.add_argument("--mirror", action="store_true", help="add mirror images in training")
    build.add_argument("--size", type=int, default=48, help="the side of pictures in a .csv")
    build.add_argument("--seed", type=_whole, default=0, help="the same seed, the same data set")

    models = command(
        "models",
        _models,
        "list models, backbones, heads and detectors, and fetch weights",
        "ferembed models fetch vggface2-resnet50",
    )
    models.add_argument("action", nargs="?", default="list", choices=("list", "fetch"))
    models.add_argument("name", nargs="?", help="the backbone whose weights to fetch")
    models.add_argument(
        "--from", dest="source", metavar="FILE", help="copy the weights, instead of downloading"
    )

    serve = command(
        "serve",
        _serve,
        "answer over HTTP, with a page for a browser that has a camera",
        "ferembed serve --model default --port 8000",
    )
    for name, kind, meaning in (
        ("model", str, "a model that ships, or a path; several, each by its own --model"),
        ("allow-host", str, "a further name by which clients may call this server"),
        ("allow-origin", str, "a web site whose pages may call it, such as https://example.org"),
        ("host", str, "the address to listen on (127.0.0.1)"),
        ("port", int, "the port to listen on (8000)"),
        ("workers", int, "processes, each with models and a queue of its own (1)"),
        ("api-key-file", Path, "a file with one key per line, of which clients must send one"),
        ("max-bytes", int, "the largest body of a request (32 million)"),
        ("max-pixels", int, "the largest picture (40 million)"),
        ("max-pictures", int, "the most pictures in a request (32)"),
        ("max-faces", int, "the most faces that are read in a picture (64)"),
        ("max-streams", int, "the most live streams at a time (8)"),
        ("queue", int, "the most pictures accepted at a time; beyond it is answered 429 (32)"),
        ("deadline", float, "seconds until a request is given up (30)"),
        ("batch-ms", float, "milliseconds for which faces wait to be read with others (3)"),
        ("batch-faces", int, "the most faces that are read together (32)"),
        ("engine", str, "as for predict (auto)"),
        ("store", str, "where vectors are kept: none, disk, or a file (none)"),
    ):
        several = "append" if name in ("model", "allow-host", "allow-origin") else "store"
        serve.add_argument(f"--{name}", type=kind, action=several, help=meaning)

    cache = command(
        "cache", _cache, "look after the vectors on disk", "ferembed cache prune --days 30"
    )
    cache.add_argument(
        "action", nargs="?", default="show", choices=("show", "verify", "prune", "clear")
    )
    cache.add_argument("--recipe", help="prune the recipes whose fingerprint starts like this")
    cache.add_argument("--days", type=_from_zero, help="prune what was not used for so many days")
    add_store(cache)
    return parser
