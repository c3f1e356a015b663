"""Settings come from flags, then from variables, and are checked."""

import shutil
from pathlib import Path

import pytest

from ferembed.errors import FerembedError, ServiceError
from ferembed.service import Settings
from ferembed.service.server import load_pipelines


def test_a_flag_counts_before_a_variable():
    variables = {"FEREMBED_PORT": "9000", "FEREMBED_QUEUE": "5"}
    settings = Settings.from_environment(variables, port=8080, host=None)
    assert (settings.port, settings.queue, settings.host) == (8080, 5, "127.0.0.1")


def test_lists_are_separated_by_commas_in_a_variable():
    settings = Settings.from_environment({"FEREMBED_MODEL": "default, fast"})
    assert settings.model == ("default", "fast")


def test_workers_get_the_same_settings():
    settings = Settings(
        model=("default", "fast"), api_key_file=Path("keys"), batch_ms=0.5, allow_host=("a", "b")
    )
    assert Settings.from_environment(settings.to_environment()) == settings


def test_workers_get_a_path_with_a_comma():
    settings = Settings(model=("models/old, new",))
    assert Settings.from_environment(settings.to_environment()) == settings


def test_workers_get_settings_of_zero():
    settings = Settings(port=0, max_streams=0, batch_ms=0)
    assert Settings.from_environment(settings.to_environment()) == settings


def test_two_models_of_one_name_are_refused(tmp_path):
    folder = tmp_path / "default"
    shutil.copytree(Path(__file__).parents[2] / "models" / "default", folder)
    with pytest.raises(ServiceError, match="Two models are called 'default'"):
        load_pipelines(Settings(model=("default", str(folder))))


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"FEREMBED_PORT": "x"}, "FEREMBED_PORT is 'x'; it is a whole number."),
        ({"FEREMBED_PORT": "70000"}, "port is 70000; it is a number from 0 to 65,535."),
        ({"FEREMBED_QUEUE": "0"}, "queue is 0; it is a number from 1 to 100,000."),
        ({"FEREMBED_BATCH_MS": "nan"}, "batch_ms is nan; it is a number from 0 to 1,000."),
        (
            {"FEREMBED_ENGINE": "openvin"},
            "No engine is called 'openvin'. Did you mean 'openvino'? Known: auto, exact, keras, "
            "openvino, openvino-bf16, openvino-int8.",
        ),
        (
            {"FEREMBED_ALLOW_HOST": "https://faces.example.org"},
            "allow_host is 'https://faces.example.org'; it is a name alone, such as "
            "faces.example.org.",
        ),
        (
            {"FEREMBED_ALLOW_ORIGIN": "https://example.org:8443,https://example.org/"},
            "allow_origin is 'https://example.org/'; it is a scheme and a name, such as "
            "https://example.org, without a path.",
        ),
        (
            {"FEREMBED_ALLOW_ORIGIN": "*"},
            "allow_origin is '*'; it is a scheme and a name, such as https://example.org, without "
            "a path.",
        ),
        ({"FEREMBED_MODEL": ","}, "No model is named. Name one, such as --model default."),
    ],
)
def test_a_wrong_setting_is_refused(variables, message):
    with pytest.raises(FerembedError) as error:
        Settings.from_environment(variables)
    assert str(error.value) == message


def test_keys_are_read_from_a_file(tmp_path):
    file = tmp_path / "keys"
    file.write_text("# of the school\nfirst-key-of-many\n\nsecond-key-of-many\n")
    assert Settings(api_key_file=file).api_keys() == (b"first-key-of-many", b"second-key-of-many")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "holds no key"),
        ("# a\n", "holds no key"),
        ("short\n", "shorter than 16 characters"),
        ("a-long-key-of-the-montaña\n", "a character outside ASCII"),
    ],
)
def test_a_file_without_a_good_key_is_refused(tmp_path, content, message):
    file = tmp_path / "keys"
    file.write_text(content)
    with pytest.raises(ServiceError, match=message):
        Settings(api_key_file=file).api_keys()
    with pytest.raises(ServiceError, match="cannot be read"):
        Settings(api_key_file=tmp_path / "none").api_keys()
