import csv
import json
import shutil
import subprocess
import sys

from tests.conftest import run_python


def test_characters_that_a_terminal_lacks_are_escaped_as_in_json(model, portrait, tmp_path):
    odd = tmp_path / "é😀.jpg"
    shutil.copy(portrait, odd)
    program = f"""
import sys
from ferembed.cli import main
sys.stdout.reconfigure(encoding="ascii")
main(["predict", {str(odd)!r}, "--model", {model!r}, "--json"])
"""
    [found] = json.loads(run_python(program).stdout)
    assert found["photo"] == str(odd)


def test_a_closed_standard_output_is_no_traceback(model, portrait):
    command = f"{sys.executable} -m ferembed.cli predict {portrait} --model {model} >&-"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")


def test_a_closed_pipe_is_no_error(model, portrait):
    command = f"{sys.executable} -m ferembed.cli models 2>&1 | head -1; echo ${{PIPESTATUS[0]}}"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert result.stderr == ""
    assert result.stdout.splitlines()[-1] == "0"


def test_a_closed_error_stream_interrupts_nothing(model, portrait, tmp_path):
    command = f"{sys.executable} -m ferembed.cli predict {tmp_path}/no.jpg {portrait}"
    command += f" --model {model} --output {tmp_path}/x.csv"
    shell = f"({command} > {tmp_path}/out; echo $? > {tmp_path}/code) 2>&1 | true"
    subprocess.run(["bash", "-c", shell], capture_output=True, check=True)
    assert (tmp_path / "code").read_text() == "1\n"
    assert (tmp_path / "out").read_text() == f"{tmp_path}/x.csv: 1 faces in 1 photos\n"
    with (tmp_path / "x.csv").open() as file:
        assert [bool(row["error"]) for row in csv.DictReader(file)] == [True, False]
