"""Pages are written whole or not at all."""

import os
import sys

import pytest

from ferembed.errors import DataError
from ferembed.evaluation.html import prepare_folder, write_report
from tests.conftest import run_python
from tests.helpers.pages import Page, made


def test_a_report_is_written_over_the_one_before(tmp_path):
    write_report(tmp_path, made(model="first"))
    page = Page(write_report(tmp_path, made(model="second")))
    assert "Report on second" in page.text
    assert sorted(os.listdir(tmp_path)) == ["report.html", "report.json", "report.md"]


def test_a_folder_that_cannot_be_written_to_is_refused_with_the_reason(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="Cannot write to the folder .*file: .*Choose another"):
        prepare_folder(tmp_path / "file")
    with pytest.raises(DataError, match="Not a directory"):
        write_report(tmp_path / "file" / "below", made())


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write all")
def test_a_folder_without_permission_is_refused(tmp_path):
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(DataError, match="Permission denied"):
        prepare_folder(tmp_path / "closed")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files as POSIX does")
def test_a_full_disk_leaves_the_report_that_was_there(tmp_path):
    write_report(tmp_path, made(model="first"))
    before = {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)}
    code = (
        "import resource, signal, sys\n"
        "from ferembed.evaluation.html import write_report\n"
        "from tests.helpers.pages import made\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))\n"
        "try: write_report(sys.argv[1], made(model='second'))\n"
        "except OSError as error: print(error.strerror)\n"
    )
    assert run_python(code, str(tmp_path)).stdout == "File too large\n"
    assert {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)} == before
