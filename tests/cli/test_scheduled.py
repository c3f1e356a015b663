from __future__ import annotations

import json
from pathlib import Path

import pytest

from ferembed import Pipeline
from ferembed.cli import main
from tests.conftest import run_python

pytest.importorskip("distributed")


@pytest.mark.slow
def test_embed_and_fit_on_local_processes(
    faces_on_disk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, model = str(tmp_path / "out"), str(tmp_path / "model")
    recipe = ["--backbone", "cnn-a", "--weights", "random", "--store", "none"]
    embed = ["embed", str(faces_on_disk), *recipe, "--scheduler", "local:1", "--output", out]
    assert main([*embed, "--json"]) == 1  # one file is no picture
    facts = json.loads(capsys.readouterr().out)
    assert (facts["rows"], facts["failed"], facts["partitions_found"]) == (60, 1, 0)
    main(embed)
    assert "0 partitions computed, 1 found, 1 pictures failed" in capsys.readouterr().out
    assert main(["fit", out, "--head", "softmax", "--output", model]) == 0
    assert f"{model}: fitted on 30 faces (0 computed, 30 from the store" in capsys.readouterr().out
    assert Pipeline.load(model).backbone == "cnn-a"


def test_a_scheduler_needs_a_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["embed", "faces", "--scheduler", "local:1"]) == 2
    assert "With --scheduler give a folder or a URL: --output" in capsys.readouterr().err
    assert main(["predict", "x.jpg", "--scheduler", "local:0", "--output", "out"]) == 2
    assert "local:N starts N workers here, such as local:2" in capsys.readouterr().err


def test_without_the_flag_nothing_of_dask_is_imported(faces_on_disk: Path) -> None:
    code = """
import sys
from ferembed.cli import main
main(["embed", sys.argv[1], "--backbone", "mini-vgg", "--store", "none", "--quiet"])
print([name for name in ("dask", "distributed", "pyarrow", "fsspec") if name in sys.modules])
"""
    assert run_python(code, str(faces_on_disk)).stdout.splitlines()[-1] == "[]"
