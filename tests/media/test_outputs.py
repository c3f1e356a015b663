from ferembed.media.outputs import Batch


def test_a_batch_counts_in_words():
    assert str(Batch(photos=1200, failed=1, faces=3456)) == "3,456 faces in 1,199 photos"
    assert str(Batch(videos=2, frames=5000)) == "5,000 frames of 2 videos"


def test_nothing_was_read_if_no_frame_of_any_video_could_be():
    assert Batch(videos=2, failed=2).nothing
    assert not Batch(videos=2, failed=1, frames=7).nothing
    assert not Batch(photos=2, failed=2).nothing
    assert not Batch().nothing
