import re

import pytest


@pytest.mark.slow
def test_networks_are_made_ready_for_the_fastest_engine(run, class_folders, portrait):
    untrained = ("--backbone", "cnn-a", "--weights", "random", "--engine", "openvino-int8")
    code, _, err = run("embed", class_folders, *untrained)
    assert code == 2
    assert "ferembed quantize FACES --backbone cnn-a --weights random" in err
    code, out, _ = run("quantize", class_folders, "--model", "fast")
    assert (code, out) == (1, "mini-vgg: ready for --engine openvino-int8.\n")  # one is a letter
    code, out, _ = run("predict", portrait, "--model", "fast", "--engine", "openvino-int8")
    assert code == 0
    assert "face 1 at" in out
    own = ("--backbone", "cnn-a", "--weights", "random")
    assert run("quantize", f"{class_folders}/train/happy", *own)[0] == 2  # too few
    assert (
        run("quantize", f"{class_folders}/*/*/?.png", f"{class_folders}/*/*/??.png", *own)[0] == 0
    )
    for wrong, message in (
        (["nowhere/", *own], "needs at least .* faces, got 0.*nowhere/ does not exist"),
        (["x.png", "--weights", "random"], "--weights goes with --backbone"),
    ):
        code, _, err = run("quantize", *wrong)
        assert code == 2
        assert re.search(message, err)
    with pytest.raises(SystemExit):
        run("quantize", "x.png", "--model", "fast", *own)
