import asyncio

import pytest

from ferembed.errors import ModelError
from ferembed.service.problems import Problem
from ferembed.service.readiness import Readiness


def test_it_is_ready_once_the_models_are_loaded():
    ready = Readiness()
    with pytest.raises(Problem) as loading:
        ready.check()
    assert (loading.value.status, loading.value.headers) == (503, {"Retry-After": "1"})
    asyncio.run(ready.after(lambda: None))
    ready.check()


def test_a_model_that_cannot_be_loaded_is_the_reason():
    def fail():
        raise ModelError("it is damaged.")

    ready = Readiness()
    asyncio.run(ready.after(fail))
    with pytest.raises(Problem, match="The model cannot be used: it is damaged"):
        ready.check()
