"""Video files and cameras, read frame by frame."""

import os
import re
import struct
import threading
import time

import cv2
import numpy as np
import pytest

from ferembed.errors import VideoError
from ferembed.media import video as module
from ferembed.media.video import Camera, open_video
from ferembed.media.watch import watch
from tests.conftest import run_python
from tests.helpers import clips


@pytest.fixture(scope="module")
def avi(tmp_path_factory):
    return clips.write(tmp_path_factory.mktemp("clips") / "clip.avi", clips.walk(40, 1))


def test_frames_come_in_order_with_their_times_and_colours(tmp_path):
    colours = [(200, 30, 30), (30, 200, 30), (30, 30, 200)]
    frames = [np.full((48, 64, 3), colour, np.uint8) for colour in colours]
    with open_video(clips.write(tmp_path / "three.mp4", frames, fps=4)) as video:
        assert (video.fps, video.count, video.notes) == (4, 3, [])
        read = list(video.frames())
    assert [(frame.index, frame.seconds) for frame in read] == [(0, 0), (1, 0.25), (2, 0.5)]
    for frame, expected in zip(read, frames, strict=True):
        assert np.abs(frame.image.astype(int) - expected).max() < 20
        assert frame.people == ()


CAPTURE = cv2.VideoCapture  # no class can be made of it: OpenCV's objects know no subclasses


def camera(path, breaks=()):
    """A camera that shows a clip at its pace; it gives nothing more at its end, and at each break
    until it is opened again."""
    clip, left, given = CAPTURE(str(path), cv2.CAP_FFMPEG), list(breaks), []

    class Camera:
        def __init__(self, source):
            assert isinstance(source, int)
            self.broken = False

        def isOpened(self):  # noqa: N802
            return True

        def release(self):
            pass

        def get(self, _):
            return 0.0

        def read(self):
            if left and len(given) == left[0]:
                left.pop(0)
                self.broken = True
            if self.broken:
                return False, None
            given.append(1)
            time.sleep(0.01)
            return clip.read()

    return Camera


def collected(frames):
    """What is given, and the error in the end."""
    seen = []
    with pytest.raises(VideoError) as caught:
        seen.extend(frames)
    return seen, str(caught.value)


def test_of_a_camera_the_newest_frame_is_seen(blind, clip, monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", camera(clip))
    monkeypatch.setattr(module, "RETRY", 0.3)
    frames = watch(blind, 0)
    seen, error = collected((f.index, time.sleep(0.05))[0] for f in frames)
    assert error.startswith("camera 0 gave no more frames after 20, nor within 0.3 seconds.")
    assert seen == sorted(set(seen))
    assert len(seen) < 12
    assert (seen[0], seen[-1]) == (0, 19)


def test_a_camera_that_is_back_soon_continues(blind, clip, monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", camera(clip, breaks=[5]))
    with open_video(0) as video:
        assert video.notes == ["camera 0 says that it has 0 frames a second; 30 are assumed."]
        times = []
        for frame in watch(blind, video):  # a busy machine misses some
            times.append((frame.index, frame.seconds))
            if frame.index >= 14:
                break
    assert times[-1][0] >= 14
    assert times == sorted(times)


def test_a_lost_camera_is_an_error_after_its_last_frame(blind, clip, monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", camera(clip, breaks=[7] * 9))
    monkeypatch.setattr(module, "RETRY", 0.3)
    with open_video("/dev/video3") as video:
        seen, error = collected(watch(blind, video))
    assert error.startswith("camera 3 gave no more frames after 7")
    assert seen[-1].index == 6


def test_a_loop_over_a_camera_can_be_left(blind, clip, monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", camera(clip))
    video = open_video(0)
    for _ in watch(blind, video):
        break
    video.close()
    assert not video._reader.is_alive()


def test_a_file_that_is_cut_off_gives_what_it_has(blind, avi, tmp_path):
    seen, error = collected(watch(blind, clips.cut_off(avi, tmp_path / "cut.avi")))
    assert [frame.index for frame in seen] == list(range(len(seen)))
    assert 20 <= len(seen) < 28
    assert f"cut.avi ends after {len(seen)} of the 40 frames that it announces" in error


@pytest.mark.parametrize("count", [0, 41, 2**31 - 1])
def test_a_count_of_frames_that_is_wrong_does_no_harm(avi, tmp_path, count):
    content = bytearray(avi.read_bytes())
    for place in (content.find(b"avih") + 24, content.find(b"strh") + 40):
        content[place : place + 4] = struct.pack("<I", count)
    path = tmp_path / "count.avi"
    path.write_bytes(content)
    with open_video(path) as video:
        assert video.count == (count if 0 < count < 1e9 else None)
        assert len(list(video.frames())) == 40


@pytest.mark.parametrize("rate", [0.0, float("nan"), 1000.0, -1.0])
def test_an_impossible_frame_rate_is_replaced_with_a_warning(clip, monkeypatch, rate):
    class Odd:
        def __init__(self, *source):
            self.clip = CAPTURE(*source)

        def __getattr__(self, name):
            return getattr(self.clip, name)

        def get(self, what):
            odd = what in (cv2.CAP_PROP_FPS, cv2.CAP_PROP_POS_MSEC)
            return rate if odd else self.clip.get(what)

    monkeypatch.setattr(cv2, "VideoCapture", Odd)
    with open_video(clip) as video:
        assert video.fps == 30
        assert video.notes == [f"{clip} says that it has {rate:g} frames a second; 30 are assumed."]
        times = [frame.seconds for frame in video.frames()]
    assert times == sorted(set(times))
    assert times[-1] - times[1] == pytest.approx(18 / 30)


def test_a_portrait_video_of_a_phone_is_upright(pipeline, tmp_path):
    lying = [np.rot90(frame) for frame in clips.walk(4)]
    path = clips.write(tmp_path / "phone.mp4", [np.ascontiguousarray(frame) for frame in lying])
    content = bytearray(path.read_bytes())
    place = content.find(b"tkhd") + 4 + 40  # where the matrix is: turn it clockwise to be seen
    assert content[place : place + 4] == struct.pack(">i", 1 << 16)
    one = 1 << 16
    content[place : place + 36] = struct.pack(">9i", 0, one, 0, -one, 0, 0, 120 * one, 0, 1 << 30)
    path.write_bytes(content)
    frames = list(watch(pipeline, path))
    assert frames[0].image.shape == (120, 160, 3)
    assert np.abs(frames[0].image.astype(int) - clips.scene(4)).mean() < 8
    assert len(frames[0].people) == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "does not exist."),
        (lambda path: path.mkdir(), "is a folder, not a video."),
        (lambda path: path.write_bytes(b""), r"is empty \(0 bytes\)."),
        (lambda path: path.write_text("a letter\n" * 99), "is not a video in a known format"),
        (lambda path: path.write_bytes(bytes(range(256)) * 20), "is not a video in a known format"),
        (lambda path: os.mkfifo(path), "is no ordinary file."),
    ],
)
def test_a_file_that_is_no_video_is_an_error(tmp_path, make, message):
    path = tmp_path / "clip.mp4"
    make(path)
    with pytest.raises(VideoError, match=f"^{re.escape(str(path))} {message}"):
        open_video(path)


def test_an_mp4_without_its_index_is_an_error(clip, tmp_path):
    path = clips.cut_off(clip, tmp_path / "cut.mp4", 0.9)
    with pytest.raises(VideoError, match="cut.mp4 is cut off or damaged: an MP4 has an index"):
        open_video(path)


def test_a_video_without_a_frame_that_can_be_decoded(clip, tmp_path):
    content = bytearray(clip.read_bytes())
    start, end = content.find(b"mdat") + 4, content.find(b"moov") - 4
    content[start:end] = bytes(end - start)
    path = tmp_path / "black.mp4"
    path.write_bytes(content)
    with (
        open_video(path) as video,
        pytest.raises(VideoError, match="No frame of .*black.mp4 can be de"),
    ):
        list(video.frames())


def test_frames_that_cannot_be_decoded_are_counted(clip, tmp_path):
    content = bytearray(clip.read_bytes())
    start, end = content.find(b"mdat") + 1500, content.find(b"moov")
    for place in range(start, end if end > start else len(content), 41):
        content[place] ^= 255
    (tmp_path / "damaged.mp4").write_bytes(content)
    code = (
        "from ferembed.media.video import open_video\n"
        "count = 0\n"
        "try:\n"
        "    for frame in open_video('damaged.mp4').frames(): count += 1\n"
        "except ValueError as error: print(error, count)\n"
    )
    done = run_python(f"import os; os.chdir({str(tmp_path)!r})\n{code}")
    assert done.stderr == ""
    lost, seen = re.fullmatch(
        r"(\d+) of the 20 frames of damaged.mp4 cannot be decoded: it is damaged. (\d+)\n",
        done.stdout,
    ).groups()
    assert int(lost) + int(seen) == 20


def test_a_camera_whose_driver_hangs_is_let_go_in_bounded_time(monkeypatch):
    """A read that never returns: closing waits a little, and leaves it."""
    hanging = threading.Event()

    class Hanging:
        def isOpened(self):  # noqa: N802  (as OpenCV calls it)
            return True

        def get(self, what):
            return 30.0

        def read(self):
            hanging.wait()
            return False, None

        def release(self):
            raise AssertionError("the driver would hang here, too")

    monkeypatch.setattr(module, "CLOSING", 0.3)
    monkeypatch.setattr(Camera, "_open", lambda self: Hanging())
    seen = open_video(0)
    frames = seen.frames()
    asking = threading.Thread(target=lambda: next(frames, None), daemon=True)
    asking.start()
    time.sleep(0.2)
    started = time.monotonic()
    seen.close()
    assert time.monotonic() - started < 3
    hanging.set()
