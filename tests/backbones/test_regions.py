"""regions and distances: what is cut and measured, by hand, and both as backbones."""

import json

import numpy as np
import pytest

from ferembed.backbones import BACKBONES, LoadRequest, load_backbone
from ferembed.backbones import landmarks as mesh
from ferembed.backbones.landmarks import Landmarks, turn
from ferembed.backbones.preprocess import Preprocess
from ferembed.backbones.regions import DISTANCES, REGIONS, Regions, _cut, build, measure
from ferembed.cli import main
from ferembed.datasets import Dataset
from ferembed.embedder import Embedder
from ferembed.errors import TrainingError, WeightsError
from ferembed.images import load_image
from ferembed.pipeline import Pipeline
from ferembed.training import TrainingRecipe, train_backbone

NAMES = list(DISTANCES)
OF_THE_PORTRAIT = {
    "left brow to eye": 0.2709,
    "right brow to eye": 0.2718,
    "left brow's inner end to eye": 0.2824,
    "right brow's inner end to eye": 0.2728,
    "between the brows": 0.4408,
    "left eye's opening": 0.1136,
    "right eye's opening": 0.1123,
    "mouth's width": 0.8429,
    "upper to lower lip": 0.0167,
    "left corner of the mouth to eye": 1.0098,
    "right corner of the mouth to eye": 1.0049,
    "nose to upper lip": 0.2180,
    "lower lip to chin": 0.4676,
}
SIDES = {  # what a point on one side of the face is called on the other
    33: 263, 133: 362, 159: 386, 145: 374, 105: 334, 52: 282, 107: 336, 55: 285, 61: 291,
}  # fmt: skip
PIXELS = 3 * 90 * 90


@pytest.fixture(scope="module")
def face(portrait):
    return load_image(portrait)[100:331, 149:380]


def rgb(faces):
    return [np.repeat(face[:, :, None], 3, axis=2) for face in faces]


def a_face():
    """Landmarks drawn by hand, 100 pixels between the middles of the eyes."""
    points = np.zeros((468, 2), np.float32)
    places = {
        33: (80, 100), 133: (120, 100), 159: (100, 94), 145: (100, 106),
        263: (220, 100), 362: (180, 100), 386: (200, 90), 374: (200, 110),
        105: (100, 60), 52: (100, 68), 107: (120, 66), 55: (120, 74),
        334: (200, 50), 282: (200, 58), 336: (180, 56), 285: (180, 64),
        2: (150, 160), 0: (150, 180), 13: (150, 190), 14: (150, 200), 17: (150, 212),
        61: (110, 190), 291: (190, 190), 152: (150, 262),
    }  # fmt: skip
    for point, place in places.items():
        points[point] = place
    return Landmarks(points, presence=1.0)


def test_the_distances_of_a_drawn_face_match_those_by_hand():
    expected = {
        "left brow to eye": 0.30,  # from y 64, between 60 and 68, to the lid at 94
        "right brow to eye": 0.36,
        "left brow's inner end to eye": 0.30,
        "right brow's inner end to eye": 0.40,
        "between the brows": np.hypot(0.6, 0.1),
        "left eye's opening": 0.12,
        "right eye's opening": 0.20,
        "mouth's width": 0.80,
        "upper to lower lip": 0.10,
        "left corner of the mouth to eye": np.hypot(0.3, 0.9),
        "right corner of the mouth to eye": np.hypot(0.3, 0.9),
        "nose to upper lip": 0.20,
        "lower lip to chin": 0.50,
    }
    assert list(expected) == NAMES
    assert measure(a_face()) == pytest.approx(list(expected.values()), abs=1e-6)


def test_distances_do_not_change_with_place_size_and_turn():
    given = a_face()
    for size, angle in ((0.2, 0.0), (1.0, 0.7), (5.0, -2.5)):
        moved = size * given.points @ turn(angle).T + (13, -700)
        again = Landmarks(moved.astype(np.float32), 1.0)
        assert measure(again) == pytest.approx(measure(given), abs=1e-4)


def mirrored(distances):
    """The same with left and right changed over."""
    swapped = {"left": "right", "right": "left"}
    names = [" ".join(swapped.get(word, word) for word in name.split(" ")) for name in NAMES]
    return distances[[NAMES.index(name) for name in names]]


def test_a_mirrored_face_has_mirrored_distances(face):
    given = a_face()
    points = given.points * (-1, 1)
    for left, right in SIDES.items():
        points[[left, right]] = points[[right, left]]
    again = measure(Landmarks(points.astype(np.float32), 1.0))
    assert again == pytest.approx(mirrored(measure(given)), abs=1e-6)
    assert (again != measure(given)).any()
    one, other = Regions()([face, np.ascontiguousarray(face[:, ::-1])])[:, PIXELS:]
    assert other == pytest.approx(mirrored(one), abs=0.05)


def test_points_that_are_no_face_have_no_distances():
    given = a_face()
    assert not measure(Landmarks(given.points, 0.49)).any()
    given.points[list(mesh.RIGHT_EYE)] = given.points[list(mesh.LEFT_EYE)]
    assert not measure(given).any()


def test_regions_are_cut_around_their_middles_and_made_level():
    y, x = np.mgrid[:200, :200].astype(np.float32)
    middles = np.array([(70.0, 80.0), (130.0, 80.0), (100.0, 140.0)])  # 60 pixels apart
    for angle in (0.0, 0.4):
        spun = (middles - 100) @ turn(angle).T + 100
        # Seen upright, a picture whose pixels are their own x, and one whose pixels are their y.
        across = np.cos(angle) * (x - 100) + np.sin(angle) * (y - 100) + 100
        down = np.cos(angle) * (y - 100) - np.sin(angle) * (x - 100) + 100
        for picture, axis in ((across, 0), (down, 1)):
            regions = _cut(np.clip(picture, 0, 255).astype(np.uint8), spun).astype(float)
            for region, (_, width, _), middle in zip(regions, REGIONS, middles, strict=True):
                at = np.arange(90) * 60 * width / 90  # 60 pixels an eye, 72 the mouth
                expected = middle[axis] + at - at.mean()
                found = region.mean(axis=axis)
                assert found == pytest.approx(expected, abs=1.5)


def test_a_row_holds_the_regions_and_the_distances(face):
    (row,) = Regions()([face])
    assert row.dtype == np.float32
    assert row.shape == (24_313,) == Regions().shape
    pictures = (row[:PIXELS] * 64 + 128).reshape(3, 90, 90)
    assert pictures.min() >= 0
    assert pictures.max() <= 255
    left, right, mouth = pictures
    # The eyes are darker than the cheeks below them, the teeth brighter than the lips.
    assert left[38:52, 30:60].mean() < left[70:, 30:60].mean() - 20
    assert right[38:52, 30:60].mean() < right[70:, 30:60].mean() - 20
    assert mouth.std() > 20
    assert row[PIXELS:] == pytest.approx(load_backbone(LoadRequest("distances")).embed([face])[0])
    assert Regions()([]).shape == (0, 24_313)


def test_the_distances_of_the_portrait(face):
    """They changing means that stored vectors are wrong: raise the specs' revisions."""
    (found,) = load_backbone(LoadRequest("distances")).embed([face])
    assert dict(zip(NAMES, found.tolist(), strict=True)) == pytest.approx(OF_THE_PORTRAIT, abs=5e-3)


def test_without_landmarks_average_regions_are_used(faces):
    (noise,) = rgb(faces[:1])
    (row,) = Regions()([noise])
    assert not row[PIXELS:].any()
    middles = np.array([(0.31, 0.39), (0.69, 0.39), (0.5, 0.775)]) * 256
    expected = _cut(Regions().pixels(noise)[:, :, 0], middles)
    assert row[:PIXELS].reshape(3, 90, 90) * 64 + 128 == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("shape", [(1, 1), (2, 300), (48, 48)])
def test_any_picture_gives_a_row(shape):
    blank = np.full((*shape, 3), 200, np.uint8)
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    for name, weights in (("regions", "random"), ("distances", None)):
        vectors = load_backbone(LoadRequest(name, weights=weights)).embed([blank, noise])
        assert vectors.shape == (2, BACKBONES[name].dim())
        assert np.isfinite(vectors).all()


def test_the_parameters_are_those_of_four_branches():
    region = (25 + 1) * 16 + (9 * 16 + 1) * 32 + (9 * 32 + 1) * 64 + (5 * 5 * 64 + 1) * 64
    distances = 4 * 13 + (13 + 1) * 32
    last = (3 * 64 + 32 + 1) * 7
    model = build()
    assert model.count_params() == 3 * region + distances + last == BACKBONES["regions"].parameters
    # 90 -> 45 -> 22 -> 11 -> 5
    ends = [model.get_layer(f"mouth_{end}").output.shape[1:] for end in ("conv1", "pool1", "pool3")]
    assert ends == [(45, 45, 16), (22, 22, 16), (5, 5, 64)]
    kinds = {type(layer).__name__ for layer in model.layers}
    assert {"Reshape", "Conv2D", "MaxPooling2D", "Flatten", "Dense", "BatchNorm"} <= kinds


def test_each_branch_reads_its_part_of_the_row_alone():
    import keras

    model = build()
    rng = np.random.default_rng(0)
    for weight in model.trainable_weights:
        weight.assign(np.abs(rng.standard_normal(weight.shape)) * 0.1)
    row = rng.random((1, 24_313)).astype(np.float32)
    joined = keras.Model(model.inputs[0], model.get_layer("joined").output)
    before = np.asarray(joined(row))
    parts = [(i * 8100, (i + 1) * 8100) for i in range(3)] + [(PIXELS, 24_313)]
    for k, (start, end) in enumerate(parts):
        other = row.copy()
        other[:, start:end] += 1
        changed = np.abs(np.asarray(joined(other)) - before)[0] > 1e-6
        slots = [changed[:64], changed[64:128], changed[128:192], changed[192:]]
        assert [slot.any() for slot in slots] == [i == k for i in range(4)]


def test_vectors_are_kept_and_found_again_without_the_landmarks(face, tmp_path, monkeypatch):
    mesh._mesh.cache_clear()
    for name, weights in (("distances", None), ("regions", "random")):
        embedder = Embedder(name, weights=weights, store=tmp_path / "store.sqlite")
        first = embedder.embed([face, face[:, ::-1]])
        assert (first.computed, first.hits) == (2, 0)
        with monkeypatch.context() as patch:
            mesh._mesh.cache_clear()
            patch.setattr("importlib.util.find_spec", lambda name: None)
            again = embedder.embed([face, face[:, ::-1]])
            assert (again.computed, again.hits) == (0, 2)
            assert (again.vectors == first.vectors).all()
            with pytest.raises(WeightsError, match=r"pip install 'ferembed\[landmarks\]'"):
                embedder.embed([face[::-1]])


def test_the_recipe_names_the_file_of_the_landmarks():
    for name, weights in (("distances", None), ("regions", "random")):
        facts = json.loads(Embedder(name, weights=weights).recipe.facts)
        assert facts["preprocess"]["landmarks"] == mesh.MESH.sha256


def test_distances_join_other_vectors_and_fit_any_head(face, tmp_path):
    both = Embedder(["regions", "distances"], weights=["random", None], store="memory")
    assert both.transform([face]).shape == (1, 224 + 13)
    pictures = [face, face[:, ::-1]] * 4
    pipeline = Pipeline("distances", "forest", store="memory").fit(pictures, ["happy", "sad"] * 4)
    assert pipeline.predict(pictures[:2]).tolist() == ["happy", "sad"]
    pipeline.save(tmp_path / "model")
    again = Pipeline.load(tmp_path / "model", store="none")
    assert again.predict(pictures[:2]).tolist() == ["happy", "sad"]


@pytest.mark.slow
def test_regions_is_trained_like_any_other_backbone(face, faces, tmp_path):
    pictures = [face, *rgb(faces[:7])] * 2
    data = Dataset.from_images(pictures, ["happy", "sad"] * 8, ["train"] * 8 + ["validation"] * 8)
    recipe = TrainingRecipe(epochs=2, batch_size=4, optimizer="adam", rate=1e-3, weight_decay=0.0)
    pipeline = train_backbone(data, "regions", tmp_path / "run", recipe).pipeline
    assert (pipeline.layer, pipeline.embedder.recipe.dim) == ("joined", 224)
    pipeline.save(tmp_path / "model")
    loaded = Pipeline.load(tmp_path / "model", store="none")
    assert loaded.predict_proba(pictures[:3]) == pytest.approx(
        pipeline.set_params(store="none", engine="keras").predict_proba(pictures[:3]), abs=1e-4
    )


def test_unsupported_settings_are_refused(data_of_two, tmp_path):
    with pytest.raises(WeightsError, match="distances takes neither weights nor preprocess"):
        load_backbone(LoadRequest("distances", weights="random"))
    with pytest.raises(WeightsError, match="distances takes neither weights nor preprocess"):
        load_backbone(LoadRequest("distances", preprocess=Preprocess("rgb")))
    with pytest.raises(WeightsError, match="gives 48x48x1, and regions takes 24313. Change size"):
        load_backbone(LoadRequest("regions", weights="random", preprocess=Preprocess()))
    with pytest.raises(WeightsError, match="No trained weights ship for regions. Give weights="):
        load_backbone(LoadRequest("regions"))
    with pytest.raises(TrainingError, match="distances has no network that can be trained"):
        train_backbone(data_of_two, "distances", tmp_path)


@pytest.fixture
def data_of_two(faces):
    return Dataset.from_images(
        rgb(faces[:4]), ["happy", "sad"] * 2, ["train"] * 2 + ["validation"] * 2
    )


def test_the_command_line_lists_them_with_licence_and_source(capsys):
    assert main(["models"]) == 0
    listed = capsys.readouterr().out
    assert "regions: eyes, mouth and 13 distances" in listed
    assert "380,123 parameters; layers joined (224), output (7)" in listed
    assert "distances: 13 distances in a face" in listed
    assert "weights here; trained on photos taken with phones" in listed
    assert main(["models", "fetch", "distances"]) == 0
    assert "face_landmark.tflite: 2,439,440 bytes" in capsys.readouterr().out
