"""The choice of an engine."""

import pytest

from ferembed.errors import MissingExtra
from ferembed.inference.engines import choose_engine


def test_without_openvino_keras_serves_and_openvino_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert choose_engine("auto") == "keras"
    with pytest.raises(MissingExtra, match=r"pip install 'ferembed\[fast\]'"):
        choose_engine("openvino")


def test_a_network_not_yet_converted_runs_on_keras_where_tensorflow_does_not_serve(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    assert choose_engine("auto", converted=False) == "keras"
    assert choose_engine("auto", converted=True) == "openvino"
    monkeypatch.delenv("KERAS_BACKEND")
    assert choose_engine("auto", converted=False) == "openvino"


def test_a_cpu_without_bfloat16_is_an_error(monkeypatch):
    monkeypatch.setattr("ferembed.inference.engines._has_bfloat16", lambda: False)
    with pytest.raises(MissingExtra, match="This CPU has no bfloat16, .* Use 'openvino'"):
        choose_engine("openvino-bf16")
