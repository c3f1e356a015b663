import json

import pytest


def test_watch_ends_after_frames_or_seconds(run, model, clip):
    watching = ("watch", clip, "--model", model, "--no-window", "--detector", "none", "--json")
    (entry,) = json.loads(run(*watching, "--frames", 3)[1])
    assert len(entry["frames"]) == 3
    (entry,) = json.loads(run(*watching, "--seconds", 0.5)[1])
    assert entry["frames"][-1]["seconds"] < 0.5
    with pytest.raises(SystemExit):
        run("watch", clip, "--seconds", "-1")
