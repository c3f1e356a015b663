"""The plugin that lets nothing be skipped silently in CI."""

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

TESTS = """
import pytest

def test_that_runs():
    pass

@pytest.mark.skip(reason={reason!r})
def test_that_does_not():
    pass
"""


@pytest.mark.parametrize(
    ("reason", "strict", "workers", "code"),
    [
        ("no browser is here", "1", "0", 1),
        ("no browser is here", "1", "2", 1),
        ("no browser is here", "", "0", 0),
        ("needs a CPU with bfloat16", "1", "0", 0),
    ],
)
def test_a_skip_fails_the_run_unless_the_platform_is_the_reason(
    tmp_path, reason, strict, workers, code
):
    (tmp_path / "test_one.py").write_text(TESTS.format(reason=reason))
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "xdist.plugin", "-n", workers,
         "-p", "tests.helpers.skips",
         "--rootdir", str(tmp_path), "-c", os.devnull, str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True,
        env={**os.environ, "FEREMBED_NO_SKIPS": strict, "PYTHONPATH": str(ROOT),
             "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )  # fmt: skip
    assert result.returncode == code, result.stdout + result.stderr
    assert ("test_that_does_not: Skipped: no browser is here" in result.stdout) == bool(code)
