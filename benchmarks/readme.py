"""Write the results into the README, between the marks that name them; --check only compares.

python -m benchmarks.readme [--check]
"""

from __future__ import annotations

import json
import math
import re
import sys
from pathlib import Path
from typing import Any

from ferembed.report import markdown_table

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
TRAITS = ("contradictory labels", "across splits")


def results(name: str) -> dict[str, Any]:
    return json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text())


def models() -> str:
    """The models that ship, side by side."""
    milliseconds = results("speed")["rows"]["one-face"]
    seconds = {
        "fast": milliseconds["seconds"],
        "default": milliseconds["seconds_of_the_default_model"],
        "accurate": milliseconds["seconds_of_the_accurate_model"],
    }
    columns: tuple[str, ...] = (
        "model",
        "networks",
        "parameters",
        "PublicTest",
        "without copies",
        "macro F1",
    )
    columns = *columns, "calibration error", "ms a face"
    rows = []
    for name in seconds:
        result = results(name)
        heads = {row["head"]: row for row in result["heads"]}
        ships = heads.get("symmetric network", heads["network"])
        networks = " and ".join(f"`{one}`" for one in result["backbone"].split(" and "))
        cells = [
            f"[`{name}`](models/{name}.md)",
            networks + (", and the mirror image" if ships is not heads["network"] else ""),
            f"{result['parameters']:,}",
            f"{ships['accuracy']:.2%}",
            f"{ships['accuracy_without_copies']:.2%}",
            f"{ships['macro_f1']:.3f}",
            f"{ships['calibration_error']:.3f}",
            f"{1000 * seconds[name]:.1f}",
        ]
        rows.append(cells)
    return markdown_table(columns, rows)


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
    """What each detector finds, and how the default model reads what it cuts out."""
    result = results("faces")
    columns: tuple[str, ...] = "detector", "margin", "finds", "of six in a photo", "false", "agrees"
    columns = *columns, "agrees, tilted by 20°", "ms", "ms, 1280x720"
    rows = []
    for row in sorted(result["detectors"], key=lambda row: -row["reporting"]["accuracy"]):
        if row["detector"] == "none":
            continue
        cells = [
            f"`{row['detector']}`",
            f"{row['margin']:.1f}, {'eyes levelled' if row['align'] == 'eyes' else 'as it is'}",
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
        f"labels; 200 parts of landscapes for false faces. The whole picture taken for the face: "
        f"{whole['reporting']['accuracy']:.1%}. On {result['machine']}.*"
    )
    return f"{markdown_table(columns, rows)}\n\n{note[:-1]} {_gained(result)}*"


def _gained(result: dict[str, Any]) -> str:
    """What margin and alignment gain over the bare box."""
    gains = []
    for row in result["detectors"]:
        cells = {(cell["margin"], cell["align"]): cell for cell in row["choosing"]}
        bare, best = cells[0.0, "none"], cells[row["margin"], row["align"]]
        if bare is not best:
            gains.append(
                f"`{row['detector']}` {100 * (best['accuracy'] - bare['accuracy']):+.1f} points, "
                f"log loss {bare['log_loss']:.2f} to {best['log_loss']:.2f}"
            )
    return f"Margin and levelled eyes gain, on the half that chose them: {'; '.join(gains)}."


def start() -> str:
    """How long the command line takes, cold."""
    result = results("start")
    rows = [[f"`{name}`", f"{s:.2f} s"] for name, s in result["median_seconds"].items()]
    note = f"*{result['rounds']} rounds on {result['machine']}.*"
    return f"{markdown_table(['a process of its own', 'median'], rows)}\n\n{note}"


def speed() -> str:
    """What was timed side by side with what it replaces, and what it was to reach."""
    result = results("speed")
    columns = "what", "against", "seconds", "times as fast", "as its best round", "aims"
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
                missed = "; its convolutions beat the product of two matrices of 2,048"
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
        "*Medians of five rounds or more (of the largest fit three), each of which times both "
        f"sides. {here['cores']} cores of {here['cpu']} with "
        f"{', '.join(here['instruction_sets'])}; its matrix products ran at "
        f"{limits['float32_gflops']:.0f} GFLOP/s in float32 and {limits['bfloat16_gflops']:.0f} in "
        f"bfloat16, files were read at {limits['disk_read_mb_per_s']:,.0f} MB/s, from memory at "
        f"{limits['page_cache_read_mb_per_s']:,.0f}.*"
    )
    return f"{markdown_table(columns, rows)}\n\n{note}"


def growth() -> str:
    """How the cost of each part grows, and what it comes to in an hour."""
    measured = results("speed")["rows"]
    parts = {
        (what if name == "growth-embed" else f"{what} {name.removeprefix('growth-')}"): row[what]
        for name, row in measured.items()
        if name.startswith("growth-")
        for what in ("embed", "embed again", "fit")
        if what in row
    }
    sizes = sorted({int(size) for part in parts.values() for size in part["seconds"]})
    columns = (
        "seconds to",
        *(f"{size:,}" for size in sizes),
        "grows in the end as rows to the",
        "in an hour",
    )
    rows = []
    for name, part in parts.items():
        seconds = {int(size): taken for size, taken in part["seconds"].items()}
        (less, sooner), (most, last) = sorted(seconds.items())[-2:]
        slope = math.log(last / sooner) / math.log(most / less)
        in_an_hour = most * (3600 / last) ** (1 / slope)
        cells = [name, *("" if size not in seconds else in_short(seconds[size]) for size in sizes)]
        cells += [f"{slope:.2f}", f"about {float(f'{in_an_hour:.1g}'):,.0f}"]
        rows.append(cells)
    return markdown_table(columns, rows)


def in_short(seconds: float) -> str:
    return f"{seconds:.0f}" if seconds >= 10 else f"{seconds:.2g}"


def audit() -> str:
    """What is wrong with FER2013."""
    result = results("audit_fer2013")
    rows = []
    for kind in ("blank", "exact duplicates", "near-duplicates"):
        found = result["summary"][kind]
        cells = [found["findings"]]
        cells += [found.get(t, {}).get("findings", "") for t in TRAITS]
        rows.append([kind, *(f"{count:,}" if count else "" for count in cells)])
    faces = sum(result["data"].values())
    columns = "", "groups or pictures", "of contradictory labels", "across splits"
    return f"{markdown_table(columns, rows)}\n\n*{faces:,} faces.*"


def main() -> int:
    text = README.read_text()
    tables = {
        "models": models,
        "backbones": backbones,
        "faces": faces,
        "start": start,
        "speed": speed,
        "growth": growth,
        "audit": audit,
    }
    for name, make in tables.items():
        table = make()
        marks = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        found = marks.search(text)
        if not found:
            print(f"README.md has no mark for {name}")
            return 1
        before, rest = text[: found.start()], text[found.end() :]
        text = f"{before}{found[1]}{table}\n{found[2]}{rest}"
    if "--check" in sys.argv:
        if text != README.read_text():
            print("README.md does not hold the latest results: run python -m benchmarks.readme")
            return 1
        return 0
    README.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
