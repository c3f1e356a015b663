import os
import stat
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from ferembed.errors import DataError, TrainingError
from ferembed.storage.files import atomic_write, check_outputs, exclusive_folder, temporary
from tests.conftest import run_python


def test_a_file_is_there_when_all_of_it_is(tmp_path):
    target = tmp_path / "new" / "a.txt"
    with atomic_write(target) as unfinished:
        unfinished.write_text("all")
        assert not target.exists()
    assert target.read_text() == "all"
    assert os.listdir(target.parent) == ["a.txt"]


def test_the_old_file_stays_after_an_error(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("before")

    def write_half():
        with atomic_write(target) as unfinished:
            unfinished.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert target.read_text() == "before"
    assert os.listdir(tmp_path) == ["a.txt"]


def write(path, text):
    with atomic_write(path) as unfinished:
        unfinished.write_text(text)


def test_a_name_may_be_as_long_as_the_file_system_takes(tmp_path):
    write(tmp_path / ("é" * 125 + ".txt"), "all")
    assert len(os.listdir(tmp_path)) == 1


of_posix = pytest.mark.skipif(sys.platform == "win32", reason="links, rights and pipes of POSIX")


@of_posix
def test_a_link_stays_and_its_target_is_written(tmp_path):
    target, link = tmp_path / "a.txt", tmp_path / "link.txt"
    target.write_text("before")
    link.symlink_to(target)
    write(link, "after")
    assert (link.is_symlink(), target.read_text()) == (True, "after")


@of_posix
def test_a_file_keeps_its_rights(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("before")
    target.chmod(0o600)
    write(target, "after")
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


@of_posix
def test_a_pipe_is_written_through(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    write(pipe, "through")
    reader.join(10)
    assert (read, stat.S_ISFIFO(pipe.stat().st_mode)) == (["through"], True)


def test_no_output_takes_the_place_of_an_input_or_of_another(tmp_path):
    photo, link = tmp_path / "p.jpg", tmp_path / "link.jpg"
    photo.write_text("a photo")
    link.symlink_to(photo)
    for output in (photo, link, f"{tmp_path}/./p.jpg"):
        with pytest.raises(DataError, match="would overwrite the input .*p.jpg"):
            check_outputs([tmp_path / "other", photo], None, output)
    with pytest.raises(DataError, match="Two outputs have the name .*/x. Give"):
        check_outputs([photo], tmp_path / "y", tmp_path / "x", f"{tmp_path}/./x")
    check_outputs([photo], tmp_path / "x", tmp_path / "y")


def test_one_process_at_a_time_has_a_folder(tmp_path):
    program = f"""
from pathlib import Path
from ferembed.errors import DataError
from ferembed.storage.files import exclusive_folder
with exclusive_folder(Path({str(tmp_path)!r}), DataError):
    pass
"""
    with exclusive_folder(tmp_path, TrainingError):
        assert "is in use by another process" in run_python(program).stderr
    assert run_python(program).returncode == 0


def test_threads_may_write_one_name(tmp_path):
    def write(number):
        for _ in range(50):
            with atomic_write(tmp_path / "x") as unfinished:
                unfinished.write_text(str(number) * 9)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert (tmp_path / "x").read_text() in [str(number) * 9 for number in range(4)]
    assert os.listdir(tmp_path) == ["x"]


def test_temporaries_go_when_their_process_has_ended_whatever_the_clock_says(tmp_path):
    """One of another machine goes when it is old: there is no other sign."""
    ours = temporary(tmp_path / "a.txt").name
    machine, process = ours.split("-")[1:3]
    ended = int(run_python("import os; print(os.getpid())").stdout)
    dead = ours.replace(f"-{process}-", f"-{ended}-")
    foreign = ours.replace(machine, "0" * 8)
    (tmp_path / "folder").mkdir()
    for name in (ours, dead, foreign, foreign + "-old"):
        (tmp_path / "folder" / name).touch()
    for name in (ours, foreign + "-old"):
        os.utime(tmp_path / "folder" / name, (0, 0))
    temporary(tmp_path / "folder" / "b.txt")
    assert sorted(os.listdir(tmp_path / "folder")) == sorted([ours, foreign])
