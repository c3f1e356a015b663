import csv
import fcntl
import io
import json
import os
import pty
import random
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time

import PIL.Image
import pytest

from tests.conftest import run_python


def test_predict_prints_the_face_and_its_probabilities(run, model, portrait):
    code, out, err = run("predict", portrait, "--model", model, "--lang", "es")
    assert code == 0
    assert f"{portrait}: face 1 at (" in out
    assert all(name in out for name in ("Enfado", "Alegría", "Tristeza"))
    assert err == ""


def test_predict_writes_json_csv_and_annotated_copies(run, model, portrait, tmp_path):
    for name in ("a.json", "a.csv"):
        code, out, _ = run("predict", portrait, "--model", model, "--output", tmp_path / name)
        assert (code, out) == (0, f"{tmp_path / name}: 1 faces in 1 photos\n")
    (entry,) = json.loads((tmp_path / "a.json").read_text())
    (row,) = csv.DictReader(io.StringIO((tmp_path / "a.csv").read_text()))
    assert entry["faces"][0]["label"] == row["label"]
    assert run("predict", portrait, "--model", model, "--annotate", tmp_path / "drawn")[0] == 0
    assert [path.name for path in (tmp_path / "drawn").iterdir()] == ["grace_hopper.png"]


def test_a_bad_file_is_one_line_and_sets_the_exit_code(run, model, portrait, tmp_path):
    (tmp_path / "letter.png").write_text("a letter")
    code, out, err = run("predict", tmp_path / "letter.png", portrait, "--model", model, "--json")
    assert code == 1
    assert [len(entry["faces"]) for entry in json.loads(out)] == [0, 1]
    assert err.splitlines() == [
        f"ferembed: {tmp_path / 'letter.png'} is not a picture in a known format "
        "(it starts like text: 'a letter').",
        "ferembed: 1 of 2 files could not be read.",
    ]


def test_the_picture_is_the_face_on_request(run, model, portrait):
    _, out, _ = run("predict", portrait, "--model", model, "--detector", "none", "--json")
    assert json.loads(out)[0]["faces"][0]["box"] == [0, 0, 512, 600]


def test_faces_below_min_face_are_left_out(run, model, portrait):
    options = ("predict", portrait, "--model", model, "--detector", "haar", "--json")
    for size, found in ((100, 1), (0.2, 1), (400, 0), (0.9, 0)):
        _, out, _ = run(*options, "--min-face", size)
        faces = json.loads(out)[0]["faces"]
        assert [face["detector"] for face in faces] == ["haar"] * found


def test_predicting_imports_no_framework(portrait):
    code = (
        "import sys; from ferembed.cli import main; code = main(sys.argv[1:]);"
        "print(int(code), *({'tensorflow', 'keras', 'onnx', 'matplotlib', 'scipy', 'sklearn',"
        " 'skops'} & sys.modules.keys()))"
    )
    result = run_python(code, "predict", str(portrait), "--store", "none")
    assert result.stdout.splitlines()[-1] == "0", result.stderr


@pytest.mark.slow
def test_a_bar_is_drawn_on_a_terminal_and_nowhere_else(model, portrait, tmp_path):
    for name in ("a.jpg", "b.jpg"):
        shutil.copy(portrait, tmp_path / name)
    command = [sys.executable, "-m", "ferembed.cli", "predict", str(tmp_path), "--model", model]
    piped = subprocess.run(command, capture_output=True, text=True)
    assert piped.stderr == ""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    subprocess.run(command, stdout=subprocess.PIPE, stderr=slave)
    os.close(slave)
    assert b"2/2" in os.read(master, 100_000)
    os.close(master)


def mutated(source: bytes, rng: random.Random) -> bytes:
    content = bytearray(source)
    for _ in range(rng.choice((1, 3, 30))):
        at = rng.randrange(max(1, len(content)))
        kind = rng.randrange(4)
        if kind == 0:
            content[at : at + 1] = [rng.randrange(256)]
        elif kind == 1:
            del content[at : at + rng.randrange(1, 200)]
        elif kind == 2:
            content[at:at] = rng.randbytes(rng.randrange(1, 50))
        else:
            content = content[: max(20, at)]
    return bytes(content)


FOREIGN = {
    "empty.png": b"",
    "text.jpg": b"Dear diary, " * 50,
    "zip.png": b"PK\x03\x04" + bytes(500),
    "page.jpeg": b"<!doctype html><p>not found</p>",
    "program.gif": b"\x7fELF" + bytes(500),
    "zeros.bmp": bytes(5000),
    "paper.tiff": b"%PDF-1.7\n" + bytes(200),
    "script.png": b"#!/bin/sh\nrm -rf /tmp/nothing\n",
    "drawing.png": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "short.webp": b"RIFF\x10\0\0\0WEBPVP8 ",
}


def test_200_mutated_and_foreign_files_are_each_accounted_for(run, model, portrait, tmp_path):
    rng = random.Random(0)
    folder = tmp_path / "photos"
    folder.mkdir()
    photo = PIL.Image.open(portrait).crop((120, 70, 420, 370)).resize((160, 160))
    sources = []
    for format in ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM"):
        buffer = io.BytesIO()
        photo.save(buffer, format)
        sources.append((format.lower(), buffer.getvalue()))
    for name, content in FOREIGN.items():
        (folder / name).write_bytes(content)
    for i in range(200 - len(FOREIGN)):
        ending, content = sources[i % len(sources)]
        (folder / f"{i:03}.{ending}").write_bytes(mutated(content, rng))
    code, out, err = run("predict", folder, "--model", model, "--json", "--quiet")
    entries = json.loads(out)
    failed = [entry for entry in entries if "error" in entry]
    assert len(entries) == len({entry["photo"] for entry in entries}) == 200
    assert {entry["photo"].rsplit("/")[-1] for entry in failed} >= FOREIGN.keys()
    assert 40 < len(failed) < 200
    assert code == 1
    assert len(err.splitlines()) == len(failed) + 1
    assert all(line.startswith("ferembed: ") for line in err.splitlines())
    for entry in entries:
        for face in entry["faces"]:
            assert sum(face["probabilities"].values()) == pytest.approx(1, abs=1e-4)


def test_a_foreign_file_beside_the_output_is_not_changed(run, model, portrait, tmp_path):
    (tmp_path / "x.csv.part").write_text("precious")
    arguments = "predict", portrait, "--model", model, "--output"
    code, _, err = run(*arguments, tmp_path / "x.csv")
    assert (code, "already exists and is not a photo journal" in err) == (2, True)
    assert (tmp_path / "x.csv.part").read_text() == "precious"


@pytest.mark.parametrize("output", [".", "/", ""])
def test_an_output_that_is_a_folder_is_an_error(
    run, model, portrait, tmp_path, monkeypatch, output
):
    monkeypatch.chdir(tmp_path)
    code, _, err = run("predict", portrait, "--model", model, "--output", output)
    assert (code, "is a folder. Give the name of a file for the results." in err) == (2, True)


def test_a_signal_to_end_leaves_nothing_half_written(model, portrait, tmp_path):
    photos = [str(portrait)] * 1 + [shutil.copy(portrait, tmp_path / f"{i}.jpg") for i in range(99)]
    (tmp_path / "out").mkdir()
    command = [sys.executable, "-m", "ferembed.cli", "predict", *photos, "--model", model]
    process = subprocess.Popen([*command, "--quiet", "--output", str(tmp_path / "out" / "x.csv")])
    while len(os.listdir(tmp_path / "out")) < 2:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 128 + signal.SIGTERM
    assert os.listdir(tmp_path / "out") == ["x.csv.part"]
