"""Write the generated tables into the Markdown files, between the marks that name them.

python -m benchmarks.readme             write the tables
python -m benchmarks.readme --check     only compare; exit code 1 if a file is out of date
python -m benchmarks.readme --example   run README's first example again, and draw its picture
python -m benchmarks.readme --plot      draw the plot of growth
"""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import PIL.Image

from ferembed.backbones.precision import RECORDS
from ferembed.inference.engines import KEPT_LABELS
from ferembed.report import markdown_table
from ferembed.storage.folders import models_folder

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
MODELS = "fast", "default", "accurate", "fer2013"
WAITERS = "yunet", "mtcnn", "fer, mtcnn", "fer, haar"
WAITED = (
    ("a photo with 1 to 6 faces, ms", "photo", "milliseconds"),
    ("of it detection, ms", "detect", "milliseconds"),
    ("a film of one person, frames a second", "video", "frames_per_second"),
)
END_TO_END = 1_000_000  # faces of the run
LARGE = {10**7: "10 million", 10**9: "1 billion"}
MACHINES, CENTS = 4, 4  # of 16 cores; of a dollar for a core and an hour: an assumption
CORES_OF_SERVICE = 2
SPEED_OF = "amd-epyc-family-26-model-2-2-cores"  # of the files, the machine that is shown
SCALED = "plain_1_thread", "workers_1", "workers_2"
TRAITS = ("contradictory labels", "across splits")
SCORED = {
    "ferplus": "FER+ majority, PublicTest",
    "fer2013": "FER2013's own labels, PublicTest",
    "photos_reporting": "photos that chose no setting",
}


def results(name: str) -> dict[str, Any]:
    return json.loads((RESULTS / f"{name}.json").read_text())


def compared() -> str:
    """The models that ship beside the package `fer`, on the same faces in one run."""
    result = results("peers")
    rows = [
        [
            f"[`{name}`](models/{name}.md)" if name in MODELS else f"the package `{name}`",
            f"{row['parameters']:,}",
            f"{row['megabytes']:.1f}",
            *(f"{row[key]:.1%}" for key in ("fer2013", "ferplus", "photos")),
            f"{row['photos_macro_f1']:.3f}",
            f"{row['milliseconds']:.1f}",
        ]
        for name, row in result["rows"].items()
    ]
    columns = ["model", "parameters", "MB", "FER2013", "FER+", "photos", "photos, macro F1"]
    machine = result["machine"]
    note = (
        f"*Accuracy on PublicTest under FER2013's own labels and under the majority of FER+ (eight "
        f"classes), and on photos. {result['scored_on']}. Latency: one face at a time, without "
        f"face detection, on {machine['cores']} cores of {machine['cpu']}.*"
    )
    return f"{markdown_table([*columns, 'latency (ms)'], rows)}\n\n{note}"


def waiting() -> str:
    """Photos and films beside the package `fer`, with its MTCNN and with its Haar detector."""
    result = results("waiting")
    rows = [
        [what, *(f"{result['rows'][name][who][unit]:.0f}" for who in WAITERS)]
        for what, name, unit in WAITED
    ]
    columns = ["", "ferembed, yunet", "mtcnn", "`fer`, MTCNN", "Haar"]
    machine = result["machine"]
    note = f"*Model `default`, 1280x720; {machine['cores']} cores of {machine['cpu']}.*"
    return f"{markdown_table(columns, rows)}\n\n{note}"


def models() -> str:
    """The models that ship, under both sets of labels and on photos."""
    rows = []
    for name in MODELS:
        result = results(name)
        facts = [
            f"[`{name}`]({name}.md)",
            " and ".join(f"`{network}`" for network in result["networks"]),
            f"{result['parameters']:,}",
            "FER+" if result["label_set"] == "ferplus" else "FER2013",
            f"{result['prior_strength']}",
        ]
        for key, title in SCORED.items():
            scores = result["scores"][key]
            alone = scores.get("accuracy_without_duplicates")
            cells = [
                title,
                f"{scores['accuracy']:.1%}",
                "" if alone is None else f"{alone:.1%}",
                f"{scores['macro_f1']:.3f}",
                f"{scores['calibration_error']:.3f}",
            ]
            rows.append([*facts, *cells])
            facts = [""] * len(facts)
    columns = ["model", "networks", "their parameters", "predicts", "prior strength", "scored on"]
    columns += ["accuracy", "without duplicates", "macro F1", "calibration error"]
    return markdown_table(columns, rows)


def heads() -> str:
    """Heads on the same vectors and labels, beside the last layers of the networks."""
    rows = []
    for name in ("fast", "default"):
        for head, row in results(f"{name}-heads").items():
            ferplus, photos = row["ferplus"], row["photos_reporting"]
            rows.append(
                [
                    " and ".join(f"`{network}`" for network in results(name)["networks"]),
                    head if head == "last layer" else f"`{head}`",
                    f"{ferplus['accuracy']:.1%}",
                    f"{ferplus['accuracy_without_duplicates']:.1%}",
                    f"{ferplus['macro_f1']:.3f}",
                    f"{ferplus['calibration_error']:.3f}",
                    f"{photos['accuracy']:.1%}",
                    f"{photos['macro_f1']:.3f}",
                ]
            )
    columns = ["networks", "head", "FER+", "without duplicates", "macro F1", "calibration error"]
    return markdown_table([*columns, "photos", "photos, macro F1"], rows)


def backbones() -> str:
    """The networks whose weights ship or can be had."""
    from ferembed import BACKBONES
    from ferembed.storage.weights import Weights

    specs = [BACKBONES[name] for name in BACKBONES if BACKBONES[name].weights]
    specs.sort(key=lambda spec: type(spec.weights) is not Weights)  # what ships comes first
    columns = "backbone", "face", "vector", "parameters", "licence of the weights"
    rows = []
    for spec in specs:
        side = spec.preprocess.size
        vectors = " or ".join(
            f"{dim:,} (`{layer}`)" for layer, dim in spec.layers if layer != spec.classifier
        )
        face = f"{side}x{side} {'gray' if spec.preprocess.channels == 1 else 'colour'}"
        assert spec.weights is not None
        cells = f"`{spec.name}`", face, vectors, f"{spec.parameters:,}", spec.weights.licence
        rows.append(cells)
    return markdown_table(columns, rows)


def faces() -> str:
    """The table of detectors: faces found, and accuracy of the default model on their crops."""
    result = results("faces")
    columns = ["detector", "margin", "found", "found of six in a photo", "false", "accuracy"]
    columns += ["accuracy, tilted by 20°", "latency (ms)", "at 1280x720"]
    rows = []
    for row in sorted(result["detectors"], key=lambda row: -row["reporting"]["accuracy"]):
        if row["detector"] == "none":
            continue
        cells = [
            f"`{row['detector']}`",
            f"{row['margin']:.1f}, {'eyes level' if row['align'] == 'eyes' else 'not aligned'}",
            f"{row['found']:.1%}",
            f"{row['of_six_in_a_photo']:.1%}",
            f"{row['false_in_landscapes']:.1%}",
            f"{row['reporting']['accuracy']:.1%}",
            f"{row['tilted'][row['align']]['accuracy']:.1%}",
            f"{row['milliseconds']:.1f}",
            f"{row['milliseconds_1280x720']:.0f}",
        ]
        rows.append(cells)
    whole = next(row for row in result["detectors"] if row["detector"] == "none")
    note = (
        f"*{result['photos']:,} photos of one face each, {result['reporting']} of them for the "
        "accuracy of the expressions; 200 cut-outs of landscapes for false detections. Accuracy on "
        f"whole photos without a detector: {whole['reporting']['accuracy']:.1%}. On "
        f"{result['machine']}.*"
    )
    return f"{markdown_table(columns, rows)}\n\n{note[:-1]} {_gained(result)}*"


def _gained(result: dict[str, Any]) -> str:
    """The gain of margin and alignment over the bare box."""
    gains = []
    for row in result["detectors"]:
        cells = {(cell["margin"], cell["align"]): cell for cell in row["choosing"]}
        bare, best = cells[0.0, "none"], cells[row["margin"], row["align"]]
        if bare is not best:
            gains.append(
                f"`{row['detector']}` {100 * (best['accuracy'] - bare['accuracy']):+.1f} points, "
                f"log loss {bare['log_loss']:.2f} to {best['log_loss']:.2f}"
            )
    return f"Gain of margin and alignment, on the half that chose them: {'; '.join(gains)}."


def precision() -> str:
    """The cost of reduced precision, and the one that the engine "auto" takes."""
    records = json.loads((models_folder() / "backbones" / RECORDS).read_text())
    columns = "network", "engine", "same label", "accuracy lost (points)", "ships", "auto takes it"
    rows = []
    for name, record in records.items():
        for engine, share in record["agreement"].items():
            ships = "" if engine != "openvino-int8" else "yes" if record["int8"] else "no"
            lost = f"{record['points_lost'][engine]:.2f}"
            taken = "yes" if share >= KEPT_LABELS else "no"
            rows.append([f"`{name}`", f"`{engine}`", f"{share:.2%}", lost, ships, taken])
    return markdown_table(columns, rows)


def start() -> str:
    """The table of cold starts of the command line."""
    result = results("start")
    rows = [[f"`{name}`", f"{s:.2f} s"] for name, s in result["median_seconds"].items()]
    note = f"*{result['rounds']} rounds on {result['machine']}.*"
    return f"{markdown_table(['process', 'median time'], rows)}\n\n{note}"


def speed() -> str:
    """The table of speed-ups over the code that was replaced, with the goals."""
    result = results(f"speed/{SPEED_OF}")
    columns = "what", "compared with", "seconds", "speed-up", "against its best round", "goals"
    rows = []
    for row in result["rows"].values():
        if not row["goals"]:
            continue
        aims = []
        for goal, reached in row["goals"].items():
            name, sign, number = goal.split()
            found = f"{row[name]:.6f}" if name == "cosine" else f"{row[name]:.3g}"
            missed = "" if reached else ", missed"
            if name == "share_of_matrix_rate" and row[name] > 1:
                missed = "; convolutions exceed the rate of a product of two matrices of 2,048"
            bound = "least" if sign == ">=" else "most"
            aims.append(f"{name.replace('_', ' ')} {found} (at {bound} {number}{missed})")
        ratio = best = ""
        if "ratio" in row:
            ratio = f"{row['ratio']:.3g}"
            best = f"{min(row['seconds_theirs']) / row['seconds']:.3g}"
        seconds = f"{row['seconds']:.2g}"
        cells = row["what"], row["against"], seconds, ratio, best, "; ".join(aims)
        rows.append(cells)
    here, limits = result["machine"], result["limits"]
    note = (
        "*Medians of at least five rounds (three for the largest fit); each round times both "
        f"sides. {here['cores']} cores of {here['cpu']} with "
        f"{', '.join(here['instruction_sets'])}; matrix products ran at "
        f"{limits['float32_gflops']:.0f} GFLOP/s in float32 and {limits['bfloat16_gflops']:.0f} in "
        f"bfloat16, files were read at {limits['disk_read_mb_per_s']:,.0f} MB/s, and "
        f"from memory at {limits['page_cache_read_mb_per_s']:,.0f}.*"
    )
    return f"{markdown_table(columns, rows)}\n\n{note}"


def growing() -> dict[str, dict[int, float]]:
    """The parts whose growth was measured, with their seconds by rows."""
    return {
        (what if name == "growth-embed" else f"{what} {name.removeprefix('growth-')}"): dict(
            sorted((int(size), taken) for size, taken in row[what]["seconds"].items())
        )
        for name, row in results(f"speed/{SPEED_OF}")["rows"].items()
        if name.startswith("growth-")
        for what in ("embed", "embed again", "fit")
        if what in row
    }


def growth() -> str:
    """The table of growth: time of each part by rows, and the rows that an hour allows."""
    parts = growing()
    sizes = sorted({size for seconds in parts.values() for size in seconds})
    columns = (
        "seconds to",
        *(f"{size:,}" for size in sizes),
        "scaling exponent (largest sizes)",
        "rows in an hour",
    )
    rows = []
    for name, seconds in parts.items():
        (less, sooner), (most, last) = list(seconds.items())[-2:]
        slope = math.log(last / sooner) / math.log(most / less)
        in_an_hour = most * (3600 / last) ** (1 / slope)
        cells = [name, *("" if size not in seconds else in_short(seconds[size]) for size in sizes)]
        cells += [f"{slope:.2f}", f"about {float(f'{in_an_hour:.1g}'):,.0f}"]
        rows.append(cells)
    return markdown_table(columns, rows)


def plot() -> None:
    """The table of growth as a plot, both axes logarithmic."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axes = figure.add_subplot()
    for name, seconds in growing().items():
        axes.plot(list(seconds), list(seconds.values()), marker="o", markersize=3, label=name)
    axes.set(xscale="log", yscale="log", xlabel="rows", ylabel="seconds")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, frameon=False)
    figure.savefig(ROOT / "benchmarks" / "growth.png", dpi=130)


def in_short(seconds: float) -> str:
    return f"{seconds:.0f}" if seconds >= 10 else f"{seconds:.2g}"


def service() -> str:
    """The tables of the service: requests beside `ferembed predict`, and what else was measured."""
    result = results("service")
    rows = [
        [
            size if clients == next(iter(part["clients"])) else "",
            clients,
            f"{row['requests_per_second']:.1f}",
            f"{row['share_of_predict']:.0%}",
            f"{row['p50_ms']:,.0f} ms",
            f"{row['p99_ms']:,.0f} ms",
            f"{row['refused']:,}",
        ]
        for size, part in result["load"].items()
        for clients, row in part["clients"].items()
    ]
    columns = ["photos", "clients", "requests a second", "of `ferembed predict`", "p50", "p99"]
    found = [markdown_table([*columns, "refused"], rows)]
    overload, start = result["overload"], result["start"]
    few = f"350x350, a queue of {overload['queue']}"
    facts = [["one client, 350x350", f"p50 {overload['lone']['p50_ms']:.0f} ms"]]
    for name in ("half load", "4 times overload"):
        row = overload[name]
        value = f"p99 {row['p99_ms']:.0f} ms, {row['p99_by_lone_p50']:.1f} times the lone p50"
        if row["refused"]:
            value += f"; {row['refused']:,} refused, p99 {row['refusal_p99_ms']:.0f} ms"
        facts.append([f"{name}, {few}", value])
    for name, row in result["stream"].items():
        value = f"{row['frames_per_second']:.1f} frames a second, median {row['median_latency_ms']}"
        facts.append([f"stream of 640x480, one face, {name}", f"{value} ms"])
    value = f"ready after {start['seconds_to_ready']:.2f} s, {start['megabytes']} MB"
    facts.append(["start", value])
    if row := result.get("endurance"):
        value = (
            f"{row['answered']:,} answers, {row['wrong']} wrong, {row['failed']} failed; "
            f"{row['megabytes_before']} MB after a minute, {row['megabytes_after']} MB at the end"
        )
        facts.append([f"32 clients, {row['seconds'] / 60:.0f} minutes", value])
    found.append(markdown_table(["", "measured"], facts))
    note = f"*{result['seconds_each']:.0f} s each; clients share the cores. {result['machine']}.*"
    return "\n\n".join([*found, note])


def cluster() -> str:
    """The tables of the cluster: scaling, scheduling, growth of heads, and a run end to end."""
    measured = results("cluster")

    def table(columns: list[str], prefix: str, cells: Callable[[dict[str, Any]], list[str]]) -> str:
        rows = [
            [name.removeprefix(prefix), *cells(row)]
            for name, row in measured.items()
            if name.startswith(prefix)
        ]
        return markdown_table(columns, rows)

    scaling = scaled(measured)
    scheduling = table(
        ["tasks that sleep", "seconds", "without overhead", "tasks a second", "overhead of each"],
        "scheduling of ",
        lambda row: [
            f"{row['seconds']:.0f}",
            f"{row['ideal_seconds']:.0f}",
            f"{row['tasks_per_second']:.0f}",
            f"{row['overhead_ms_per_task']:.1f} ms",
        ],
    )
    fits = table(
        ["fit in batches", "seconds", "peak memory"],
        "fit ",
        lambda row: [f"{row['seconds']:.0f}", f"{row['peak_mb']:,} MB"],
    )
    grown = table(["growth", "exponent"], "growth of ", lambda row: [f"{row['exponent']:.2f}"])
    compared = [
        [
            name.replace(" against ", " and "),
            *(f"{row[key]:.2%}" for key in ("accuracy_batches", "accuracy_exact")),
            *(f"{row[key]:.1f} s" for key in ("seconds_batches", "seconds_exact")),
        ]
        for name, row in measured.items()
        if " against " in name
    ]
    exact = markdown_table(["heads", "accuracy", "exact", "fit", "exact"], compared)
    whole = table(
        ["end to end", "seconds", "peak of a worker", "peak of the client", "on disk"],
        "whole: ",
        lambda row: [
            f"{row['seconds']:,.0f}",
            f"{row['peak_mb_worker']:,} MB" if "peak_mb_worker" in row else "",
            f"{row['peak_mb_client']:,} MB",
            f"{row['mb_on_disk']:,.0f} MB" if "mb_on_disk" in row else "",
        ],
    )
    tables = scaling, scheduling, fits, grown, exact, whole
    return "\n\n".join(one for one in tables if one.count("\n") > 1)  # some may not be run yet


def scaled(measured: dict[str, Any]) -> str:
    """The table of work without a cluster, and with one and two workers."""
    return markdown_table(
        ["work", "without a cluster", "1 worker", "2 workers", "speed-up", "cost of 1 worker"],
        [
            [
                name,
                *(f"{row['seconds'][key]:.1f} s" for key in SCALED),
                f"{row['speedup_of_2_workers']:.2f}",
                f"{row['overhead_of_1_worker']:+.1%}",
            ]
            for name, row in measured.items()
            if "speedup_of_2_workers" in row
        ],
    )


def on_paper() -> str:
    """The table of time, cost and memory of larger jobs, computed from measured rates."""
    measured = results("cluster")
    size = f"{END_TO_END:,} faces, 2 workers"
    embed, audit = (measured[f"whole: {what} {size}"] for what in ("embed", "audit"))
    photos = results("service")["load"]["1280x720"]["predict_photos_per_second"]
    photos_per_core = max(photos) / CORES_OF_SERVICE
    rates = {  # of one core, in a second
        "embed faces of 48x48, INT8": embed["per_second"] / embed["cores"],
        "predict photos of 1280x720": photos_per_core,
    }
    rows = [
        [f"{name}: core-hours", *(hours_text(count / rate / 3600) for count in LARGE)]
        for name, rate in rates.items()
    ]
    hours = [count / photos_per_core / 3600 for count in LARGE]
    rows.append(
        [
            f"the photos on {MACHINES} machines of 16 cores",
            *(f"{hours_text(h / MACHINES / 16)} hours" for h in hours),
        ]
    )
    rows.append([f"at {CENTS} cents a core-hour", *(f"${h * CENTS / 100:,.0f}" for h in hours)])
    megabytes = {
        "disk for the vectors of the faces": embed["mb_on_disk"],
        "memory of the client that embeds": embed["peak_mb_client"],
        "memory of the client that audits": audit["peak_mb_client"],
    }
    for name, each in megabytes.items():
        rows.append([name, *(f"{each / END_TO_END * count / 1000:,.0f} GB" for count in LARGE)])
    tasks = max(row["tasks_per_second"] for row in measured.values() if "tasks" in row)
    busy = [f"{tasks * 1000 / rate:,.0f}" for rate in rates.values()]
    note = (
        f"*A scheduler on these cores hands out {tasks:,.0f} tasks a second. Tasks of 1,000 "
        f"pictures keep {busy[0]} cores busy with faces, and {busy[1]} with photos.*"
    )
    table = markdown_table(["", *LARGE.values()], rows)
    return f"{table}\n\n{note}"


def hours_text(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 10 else f"{hours:.1f}"


def audit() -> str:
    """The table of findings in FER2013."""
    result = results("audit_fer2013")
    rows = []
    for kind in ("blank", "exact duplicates", "near-duplicates"):
        found = result["summary"][kind]
        cells = [found["findings"]]
        cells += [found.get(t, {}).get("findings", "") for t in TRAITS]
        rows.append(
            [
                kind,
                *(f"{count:,}" if count else "" for count in cells),
            ]
        )
    faces = sum(result["data"].values())
    columns = "", "groups or pictures", "with contradictory labels", "across splits"
    return f"{markdown_table(columns, rows)}\n\n*{faces:,} faces.*"


def example() -> None:
    """Run README's first example on the portrait: its output into README, its picture beside it."""
    from ferembed import Pipeline, load_image
    from ferembed.media.annotate import annotate
    from ferembed.media.demo import photo

    text = (ROOT / "README.md").read_text()
    blocks = re.compile(r"```python\n(.*?)```\n\n```text\n(.*?)```", re.DOTALL)
    block = blocks.search(text)
    assert block is not None
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "portrait.jpg").write_bytes(photo().read_bytes())
        command = [sys.executable, "-c", block[1]]
        printed = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    start, end = block.span(2)
    (ROOT / "README.md").write_text(text[:start] + printed.stdout + text[end:])
    portrait = load_image(photo())
    drawn = annotate(portrait, Pipeline.load("default", store="none").analyze(portrait))
    PIL.Image.fromarray(drawn).save(ROOT / "examples" / "portrait.jpg", quality=85)


TABLES: list[tuple[str, str, Callable[[], str]]] = [
    ("results", "README.md", compared),
    ("waiting", "README.md", waiting),
    ("models", "models/README.md", models),
    ("heads", "models/README.md", heads),
    ("backbones", "models/README.md", backbones),
    ("precision", "models/README.md", precision),
    ("faces", "benchmarks/README.md", faces),
    ("start", "benchmarks/README.md", start),
    ("speed", "benchmarks/README.md", speed),
    ("growth", "benchmarks/README.md", growth),
    ("service", "benchmarks/README.md", service),
    ("cluster", "benchmarks/README.md", cluster),
    ("on paper", "benchmarks/README.md", on_paper),
    ("audit", "benchmarks/README.md", audit),
]


def with_tables(file: str, text: str) -> str:
    """The text of a file with its tables made anew."""
    for mark, where, table in TABLES:
        if where != file:
            continue
        pattern = re.compile(rf"(<!-- {mark} -->\n).*?(<!-- end -->)", re.DOTALL)
        parts = pattern.search(text)
        if parts is None:
            raise SystemExit(f"{file} has no mark for {mark}")
        text = f"{text[: parts.start()]}{parts[1]}{table()}\n{parts[2]}{text[parts.end() :]}"
    return text


def main() -> int:
    if "--example" in sys.argv:
        example()
    if "--plot" in sys.argv:
        plot()
        return 0
    stale = []
    for file in dict.fromkeys(file for _, file, _ in TABLES):
        text = (ROOT / file).read_text()
        new = with_tables(file, text)
        if new == text:
            continue
        stale.append(file)
        if "--check" not in sys.argv:
            (ROOT / file).write_text(new)
    if stale and "--check" in sys.argv:
        print(f"{', '.join(stale)}: not the latest results. Run python -m benchmarks.readme")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
