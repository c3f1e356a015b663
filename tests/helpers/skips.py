"""A pytest plugin: with FEREMBED_NO_SKIPS=1 a run fails if tests are skipped without good reason.

What a platform lacks is a good reason; a package or a program that can be installed is none.
"""

from __future__ import annotations

import os
import re

import pytest

ALLOWED = re.compile(
    "|".join(
        (
            "needs a CPU with bfloat16",
            "needs pipes with names",
            "needs Linux's list of open files",
            "needs a system that forks",
            "needs fork",
            "needs processes that fork",
            "needs a file size limit",
            "root may write all",
            "limits the size of files as POSIX does",
            "links, rights and pipes of POSIX",
            "set FEREMBED_DATA",  # .ci/run sets it where the images are
            "Skipping check_",  # scikit-learn's: of what an estimator does not support
            "array_api",
            "pandas is not installed",
        )
    )
)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("FEREMBED_NO_SKIPS") != "1" or reporter is None:
        return
    wrong = {
        f"{report.nodeid}: {reason}"
        for report in reporter.stats.get("skipped", [])
        if not ALLOWED.search(reason := _reason(report))
    }
    if wrong:
        reporter.write_line("")
        for line in sorted(wrong):
            reporter.write_line(f"SKIPPED WITHOUT GOOD REASON {line}", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    longrepr = report.longrepr
    return str(longrepr[2] if isinstance(longrepr, tuple) else longrepr)
