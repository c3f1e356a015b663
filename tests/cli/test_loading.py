import gc

from ferembed.cli.loading import garbage_collection_off


def test_garbage_collection_is_on_again_after_an_error(run, portrait):
    assert gc.isenabled()
    assert run("predict", portrait, "--model", "no-such-model")[0] == 2
    assert gc.isenabled()


def test_garbage_collection_stays_off_where_the_caller_wants_that():
    gc.disable()
    try:
        with garbage_collection_off():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
