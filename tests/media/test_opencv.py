import os
import re

import numpy as np
import pytest

from ferembed.errors import VideoError
from ferembed.media.video import open_video
from tests.conftest import run_python
from tests.helpers import clips


def test_a_damaged_middle_is_not_the_end_and_nothing_makes_noise(clip, tmp_path):
    content = bytearray(clip.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 600] = np.random.default_rng(0).bytes(600)
    (tmp_path / "damaged.mp4").write_bytes(content)
    clips.cut_off(clip, tmp_path / "cut.mp4")
    code = (
        "import sys; from ferembed.media.video import open_video\n"
        "for source in ('cut.mp4', 97):\n"
        "    try: open_video(source)\n"
        "    except ValueError as error: print(error)\n"
        "last = 0\n"
        "with open_video('damaged.mp4') as video:\n"
        "    try:\n"
        "        for frame in video.frames(): last = frame.index\n"
        "    except ValueError as error: print(error)\n"
        "print(last)"
    )
    done = run_python(f"import os; os.chdir({str(tmp_path)!r}); {code}")
    assert done.stderr == ""
    cut, camera, *damaged, last = done.stdout.splitlines()
    assert cut.startswith("cut.mp4 is cut off or damaged")
    assert camera.startswith("camera 97 cannot be opened")
    assert int(last) >= 17
    told = "cannot be decoded: it is damaged."
    assert all(re.fullmatch(rf"\d+ of the 20 frames of damaged.mp4 {told}", x) for x in damaged)


def test_a_name_that_is_no_utf8(clip, tmp_path):
    name = os.fsdecode(os.fsencode(tmp_path) + b"/b\xff.mp4")
    os.link(clip, name)
    with pytest.raises(VideoError, match="OpenCV cannot open .*: the name is no UTF-8. Rename it"):
        open_video(name)
