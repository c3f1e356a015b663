import threading
import time

import pytest

from ferembed._prefetch import prefetch_map, prefetch_when_slow
from ferembed._threads import thread_count
from tests.conftest import run_python


def test_results_come_in_the_order_of_the_tasks():
    def work(i):
        time.sleep(0.01 * (i % 3 == 0))
        return i * i

    assert list(prefetch_map(work, range(20))) == [i * i for i in range(20)]
    assert list(prefetch_map(work, [])) == []


def test_tasks_are_drawn_by_the_caller_and_worked_on_by_others():
    drawn, worked = set(), set()

    def tasks(count):
        for i in range(count):
            drawn.add(threading.current_thread())
            yield i

    list(prefetch_map(lambda i: worked.add(threading.current_thread()), tasks(9)))
    assert drawn == {threading.current_thread()}
    assert threading.current_thread() not in worked
    worked.clear()
    list(
        prefetch_map(lambda i: worked.add(threading.current_thread()), tasks(1))
    )  # not worth a thread
    assert worked == {threading.current_thread()}


def test_a_process_that_is_held_to_one_thread_works_in_that_one(monkeypatch):
    monkeypatch.setattr("ferembed._threads._limits", [1])
    worked = []
    list(prefetch_map(lambda i: worked.append(threading.current_thread()), range(9)))
    assert worked == [threading.current_thread()] * 9
    monkeypatch.setattr("ferembed._threads._limits", [2])
    list(prefetch_map(lambda i: worked.append(threading.current_thread()), range(9)))
    assert threading.current_thread() not in worked[9:]


def test_no_more_is_under_way_than_there_are_threads():
    begun = []
    results = prefetch_map(begun.append, range(100))
    for done in range(1, 50):
        next(results)
        assert len(begun) <= done + thread_count()
    results.close()
    assert len(begun) <= 49 + thread_count()


def test_it_really_runs_ahead():
    begun = threading.Event()

    def work(i):
        if i:
            begun.set()
        return i

    results = prefetch_map(work, range(3))
    assert next(results) == 0
    assert begun.wait(10)  # the second, before anyone has asked for it
    results.close()


CTRL_C = """
import signal, threading, time
from ferembed._prefetch import prefetch_map

begun, arrived = [], threading.Event()

def interrupt(*_):
    arrived.set()
    raise KeyboardInterrupt

def work(i):
    begun.append(i)
    if i == 0:
        time.sleep(0.3)  # until the next task waits
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        assert arrived.wait(30)
        time.sleep(1)  # until what waits is cancelled

signal.signal(signal.SIGINT, interrupt)
try:
    list(prefetch_map(work, range(9), threads=1))
except KeyboardInterrupt:
    print("interrupted", begun)
"""


def test_ctrl_c_cancels_what_waits_for_a_thread():
    """In a process of its own: the signal has ended processes that ran many other tests before."""
    done = run_python(CTRL_C)
    assert done.stdout == "interrupted [0]\n", done.stderr


def test_errors_arrive_where_they_belong_and_no_thread_is_left():
    before = threading.active_count()

    def work(i):
        if i == 3:
            raise ValueError("the third")
        return i

    seen = []
    with pytest.raises(ValueError, match="the third"):
        seen.extend(one for one in map(seen.append, prefetch_map(work, range(9))) if one)
    assert seen == [0, 1, 2]
    assert threading.active_count() == before

    def tasks():
        yield from range(4)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(prefetch_map(work, tasks()))
    assert threading.active_count() == before


def test_threads_come_in_only_once_a_task_is_slow(monkeypatch):
    monkeypatch.setattr("ferembed._prefetch._SLOW", 0.5)  # more than a busy machine takes
    worked = []

    def work(i):
        worked.append(threading.current_thread())
        time.sleep(0.6 * (i == 4))
        return i

    assert list(prefetch_when_slow(work, range(9))) == list(range(9))
    here = [thread is threading.current_thread() for thread in worked]
    assert here == [True] * 5 + [False] * 4
    assert list(prefetch_when_slow(work, [])) == []
