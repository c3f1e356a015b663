"""Data sets of photos become data sets of the faces in them."""

import PIL.Image
import pytest

from ferembed import Pipeline, datasets
from ferembed.errors import DataError, UnknownName
from ferembed.faces import FaceRecipe
from ferembed.images import load_image

RECIPE = FaceRecipe("haar", margin=0.1, align="eyes", width=400)


@pytest.fixture
def photos(tmp_path, portrait):
    """A portrait, its mirror image, a landscape and a text, in class folders."""
    picture = PIL.Image.open(portrait)
    for name in ("happy", "sad"):
        (tmp_path / name).mkdir()
    picture.save(tmp_path / "happy" / "a.png")
    picture.transpose(PIL.Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / "sad" / "b.png")
    PIL.Image.new("RGB", (300, 200), "gray").save(tmp_path / "sad" / "c.png")
    (tmp_path / "sad" / "d.png").write_text("a letter")
    return tmp_path


def test_each_photo_becomes_its_most_confident_face(photos, portrait):
    cropped = datasets.crop(datasets.open(photos), RECIPE)
    assert cropped.labels.tolist() == ["happy", "sad"]
    assert cropped.images.name(0) == "happy/a.png (face)"
    ((_, crop),) = RECIPE(load_image(portrait))
    assert (load_image(cropped.images[0]) == crop).all()
    step = cropped.provenance[-1]
    assert (step["step"], step["margin"], step["kept"]) == ("crop", 0.1, 2)
    assert step["skipped"] == {
        "no face found": {"count": 1, "first": "sad/c.png"},
        "cannot be read": {"count": 1, "first": "sad/d.png"},
    }
    assert "skipped 1: no face found, first sad/c.png" in str(cropped)


def test_a_photo_is_cropped_at_prediction_as_in_training(photos):
    """The photo in analyze, and its crop in the training set, have one vector."""
    cropped = datasets.crop(datasets.open(photos), RECIPE)
    made = Pipeline("cnn-a", "knn", weights="random", store="memory", detector=RECIPE)
    made.set_params(head__n_neighbors=1).fit(cropped.images, cropped.labels)
    for name, label in (("happy/a.png", "happy"), ("sad/b.png", "sad")):
        (prediction,) = made.analyze(photos / name)
        assert prediction.label == label
        ((_, crop),) = RECIPE(load_image(photos / name))
        assert made.embedder.embed([crop]).hits == 1


def test_crops_are_written_and_read_again(photos, tmp_path):
    out = tmp_path / "out"
    cropped = datasets.crop(datasets.open(photos), "haar")
    datasets.write(cropped, out)
    again = datasets.open(out)
    assert again.counts() == cropped.counts()
    for ours, theirs in zip(cropped.images, again.images, strict=True):
        assert (load_image(ours) == load_image(theirs)).all()
    assert [step["step"] for step in again.provenance] == ["open", "crop", "open"]


def test_a_set_without_any_face_is_an_error(photos):
    landscapes = datasets.open(photos).select([2, 3])
    with pytest.raises(DataError, match="'mtcnn' finds no face in any of the 2 photos"):
        datasets.crop(landscapes)
    with pytest.raises(UnknownName, match="Did you mean 'haar'"):
        datasets.crop(landscapes, "har")


def test_the_commands_crop_photos_with_the_model_s_own_recipe(photos, tmp_path, capsys):
    from ferembed.cli import main

    model = str(tmp_path / "model")
    settings = ["--backbone", "cnn-a", "--weights", "random", "--store", "none", "--quiet"]
    command = ["fit", str(photos), "--head", "softmax", "--crop", "haar-512", *settings]
    assert main([*command, "--output", model]) == 0
    told = capsys.readouterr()
    assert "fitted on 2 faces" in told.out
    assert "left out: 1 pictures: no face found, first sad/c.png" in told.err
    assert Pipeline.load(model).detector == FaceRecipe.resolve("haar-512")
    assert main(["evaluate", model, str(photos), "--crop", "--json", "--quiet"]) == 0
    assert '"count": 2' in capsys.readouterr().out
    made = f"{tmp_path}-x"
    assert main(["data", "build", str(photos), "--crop", "--output", made]) == 0
    assert len(datasets.open(made)) == 2
