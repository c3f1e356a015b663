import numpy as np
import pytest

from ferembed import Embedder, Pipeline
from ferembed.backbones import BACKBONES, register_keras_model
from ferembed.backbones.preprocess import Preprocess
from ferembed.datasets import Dataset
from ferembed.errors import WeightsError
from ferembed.training import TrainingRecipe, train_backbone

GRAY = Preprocess("gray", 24)


@pytest.fixture
def model():
    import keras

    keras.utils.set_random_seed(3)
    face = keras.Input((24, 24, 1))
    x = keras.layers.Conv2D(4, 3, activation="relu", name="conv")(face)
    x = keras.layers.GlobalAveragePooling2D(name="pooled")(x)
    x = keras.layers.Dense(5, activation="relu", name="hidden")(x)
    x = keras.layers.Dropout(0.3)(x)
    yield keras.Model(face, keras.layers.Dense(7, activation="softmax", name="answer")(x))
    BACKBONES._things.pop("mine", None)


@pytest.mark.parametrize("engine", ["keras", "openvino"])
def test_a_model_is_cut_at_the_layer_named(model, faces, engine):
    import keras

    register_keras_model("mine", model, "hidden", GRAY)
    vectors = Embedder("mine", engine=engine, store="none").transform(faces)
    cut = keras.Model(model.inputs[0], model.get_layer("hidden").output)
    expected = cut(GRAY(np.repeat(face[:, :, None], 3, axis=2) for face in faces)).numpy()
    assert vectors == pytest.approx(expected, abs=1e-5)
    assert np.ptp(vectors) > 0.01


def test_a_model_trained_further_makes_other_vectors_once_it_is_added_again(model, faces):
    register_keras_model("mine", model, "pooled", GRAY)
    before = Embedder("mine", store="memory")
    old, recipe = before.transform(faces), before.recipe
    kernel, bias = model.get_layer("conv").get_weights()
    model.get_layer("conv").set_weights([kernel, bias + 1])
    assert (Embedder("mine", store="none").transform(faces) == old).all()
    register_keras_model("mine", model, "pooled", GRAY)
    assert before.recipe != recipe
    assert (before.transform(faces) != old).all()


@pytest.mark.slow
def test_its_last_layer_is_trained_on_the_classes_of_the_data(model, faces, tmp_path):
    register_keras_model("mine", model, "hidden", GRAY)
    data = Dataset.from_images(
        faces, ["sad", "happy", "bored"] * 8, ["train"] * 18 + ["validation"] * 6
    )
    recipe = TrainingRecipe(epochs=1, rate=0.0, weight_decay=0.0, dtype="float32")
    pipeline = train_backbone(data, "mine", tmp_path, recipe, weights="pretrained").pipeline
    assert pipeline.classes_.tolist() == ["bored", "happy", "sad"]
    plain = Embedder("mine", store="none").transform(faces)
    assert pipeline.embedder.transform(faces) == pytest.approx(plain, abs=1e-3)
    pipeline.save(tmp_path / "model")
    loaded = Pipeline.load(tmp_path / "model", store="none")
    assert (loaded.predict(faces) == pipeline.predict(faces)).all()


def test_a_model_that_cannot_be_cut_is_refused_with_the_reason(model):
    with pytest.raises(WeightsError, match="no layer 'dens'; it has .*hidden"):
        register_keras_model("mine", model, "dens", GRAY)
    with pytest.raises(WeightsError, match="not a vector. Cut after a Flatten"):
        register_keras_model("mine", model, "conv", GRAY)
    with pytest.raises(WeightsError, match="the preprocessing gives"):
        register_keras_model("mine", model, "hidden", Preprocess("rgb", 24))
    assert "mine" not in BACKBONES
    for name in ("mine/v2", "..", ""):
        with pytest.raises(WeightsError, match="is not a valid name. Use letters"):
            register_keras_model(name, model, "hidden", GRAY)
    with pytest.raises(WeightsError, match="mini-vgg is one of ferembed's own"):
        register_keras_model("mini-vgg", model, "hidden", GRAY)
