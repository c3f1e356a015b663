"""Many photos, written to one output."""

import csv

import pytest

from ferembed import Pipeline
from ferembed.media.batch import predict_photos
from ferembed.media.outputs import Batch, Outputs


@pytest.fixture(scope="module")
def pipeline(faces, labels):
    made = Pipeline("cnn-a", "softmax", weights="random", store="none", detector="none")
    return made.fit(faces, labels)


def test_photos_are_written_counted_and_reported(pipeline, portrait, tmp_path):
    photos = [str(portrait), str(tmp_path / "none.jpg")]
    steps, lines = [], []
    batch = predict_photos(
        pipeline,
        photos,
        Outputs(table=str(tmp_path / "x.csv"), format="csv"),
        progress=lambda done, total: steps.append((done, total)),
        warn=lines.append,
    )
    assert batch == Batch(photos=2, failed=1, faces=1)
    assert steps == [(1, 2), (2, 2)]
    assert lines == [f"{photos[1]} does not exist.", "1 of 2 files could not be read."]
    with (tmp_path / "x.csv").open() as file:
        assert [row["photo"] for row in csv.DictReader(file)] == photos


def test_a_single_photo_reports_no_progress(pipeline, portrait, capsys):
    batch = predict_photos(pipeline, [str(portrait)], progress=lambda done, total: 1 / 0)
    assert batch == Batch(photos=1, failed=0, faces=1)
    assert f"{portrait}: face 1" in capsys.readouterr().out


def test_photos_read_by_an_interrupted_run_are_not_read_again(pipeline, portrait, tmp_path):
    photos = [str(portrait)] * 3
    outputs = Outputs(table=str(tmp_path / "x.json"), format="json")

    def interrupted(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_photos(pipeline, photos, outputs, progress=interrupted)
    assert not (tmp_path / "x.json").exists()
    lines = []
    assert predict_photos(pipeline, photos, outputs, warn=lines.append) == Batch(photos=3, faces=3)
    assert lines == ["1 photos were read before."]
