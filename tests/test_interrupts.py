import signal
import threading
from contextlib import suppress

import pytest

from ferembed._interrupts import deferred_interrupts


@pytest.fixture(autouse=True)
def python_handler():
    # A shell that starts the tests in the background has them ignore the signal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.signal(signal.SIGINT, before) is signal.default_int_handler


def interrupt():
    """Call the handler as Python does for a signal; tests/cli/test_signals.py sends real ones."""
    signal.getsignal(signal.SIGINT)(signal.SIGINT, None)


def steps_done(steps):
    """The steps that a block with interrupts does; each is a signal or a word."""
    done = []
    with suppress(KeyboardInterrupt), deferred_interrupts():
        for step in steps:
            done.append(step)
            if step == "interrupt":
                interrupt()
    return done


def test_an_interrupt_waits_until_the_block_is_done():
    def interrupted():
        assert steps_done(["interrupt", "write"]) == ["interrupt", "write"]
        with deferred_interrupts():
            interrupt()

    with pytest.raises(KeyboardInterrupt):
        interrupted()


def test_a_second_interrupt_does_not_wait():
    steps = ["interrupt", "write", "interrupt", "write"]
    assert steps_done(steps) == steps[:3]


def test_a_signal_that_is_ignored_stays_so():
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with deferred_interrupts():
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


def test_in_another_thread_nothing_changes():
    handlers = []

    def look():
        with deferred_interrupts():
            handlers.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert handlers == [signal.default_int_handler]
