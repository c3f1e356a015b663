import sys

import pytest

service = pytest.importorskip("ferembed.service")


def test_flags_become_settings_and_what_is_not_given_keeps_its_default(run, monkeypatch):
    served = []
    monkeypatch.setattr(service, "serve", served.append)
    monkeypatch.setenv("FEREMBED_QUEUE", "7")
    flags = ("--port", 0, "--model", "fast", "--model", "default", "--batch-ms", "1.5")
    assert run("serve", *flags)[0] == 0
    (settings,) = served
    assert (settings.port, settings.model) == (0, ("fast", "default"))
    assert (settings.batch_ms, settings.queue, settings.host) == (1.5, 7, "127.0.0.1")


def test_a_wrong_setting_is_one_line(run):
    code, out, err = run("serve", "--model", "defalt", "--port", 0)
    assert (code, out) == (2, "")
    assert "No model is called 'defalt'. Did you mean 'default'?" in err


def test_a_package_that_is_missing_is_named(run, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("ferembed.service")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "fastapi", None)
    code, _, err = run("serve")
    assert (code, "Run: pip install 'ferembed[fast,serve]'" in err) == (2, True)
