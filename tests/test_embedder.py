import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from ferembed.backbones import LoadRequest, load_backbone
from ferembed.backbones.preprocess import Preprocess
from ferembed.backbones.spec import _load
from ferembed.embedder import BATCH, Embedder
from ferembed.errors import (
    ImageError,
    ImageTooLarge,
    MissingExtra,
    ModelError,
    StoreError,
    WeightsError,
)
from ferembed.inference.engines import _has_bfloat16
from ferembed.inference.openvino import import_nncf
from ferembed.pipeline import Pipeline
from ferembed.storage.embeddings import DiskStore, MemoryStore
from tests.conftest import run_python


@pytest.fixture
def store(tmp_path):
    return str(tmp_path / "store.sqlite")


def embedder(store, backbone="cnn-a", weights="random", **options):
    return Embedder(backbone, weights=weights, store=store, **options)


def test_vectors_are_the_backbones_own(store, faces):
    rgb = [np.repeat(face[:, :, None], 3, axis=2) for face in faces]
    expected = load_backbone(LoadRequest("cnn-a", weights="random")).embed(rgb)
    assert (embedder(store).transform(faces) == expected).all()
    assert (embedder(store).transform(faces) == expected).all()  # from the store


def test_a_warm_store_computes_nothing(store, faces):
    cold = embedder(store).embed(faces)
    warm = embedder(store).embed(faces)
    assert (cold.hits, cold.computed) == (0, 24)
    assert (warm.hits, warm.computed) == (24, 0)


def test_mirror_averaged_vectors_are_the_mean_of_a_face_and_its_mirror_image(store, faces):
    mirrored = np.ascontiguousarray(faces[:, :, ::-1])
    plain = [embedder(store).transform(both) for both in (faces, mirrored)]
    mirror_average = embedder(store, mirror_average=True)
    assert mirror_average.transform(faces) == pytest.approx((plain[0] + plain[1]) / 2, abs=1e-5)
    assert mirror_average.transform(mirrored) == pytest.approx(
        mirror_average.transform(faces), abs=1e-5
    )
    alone = np.concatenate([mirror_average.set_params(store="none").transform([f]) for f in faces])
    assert alone == pytest.approx((plain[0] + plain[1]) / 2, abs=1e-5)


@pytest.mark.parametrize(
    "change",
    [
        {"backbone": "cnn-b"},
        {"layer": "dense2"},
        {"weights": "random:2"},
        {"normalize": True},
        {"mirror_average": True},
        {"preprocess": Preprocess(equalize="clahe")},
    ],
)
def test_switching_any_part_of_the_recipe_does_not_reuse_vectors(store, faces, change):
    before = embedder(store).embed(faces).vectors
    assert embedder(store).embed(faces).hits == 24
    options = {"backbone": "cnn-a", **change}
    after = embedder(store, **options).embed(faces)
    assert after.hits == 0
    assert not np.allclose(before, after.vectors)


def test_vectors_of_several_backbones_are_joined_and_kept_each_by_itself(store, faces):
    parts = [embedder(store, name).transform(faces) for name in ("cnn-a", "cnn-b")]
    joined = embedder(store, ["cnn-a", "cnn-b"]).embed(faces)
    assert (joined.vectors == np.concatenate(parts, axis=1)).all()
    assert (joined.hits, joined.computed) == (48, 0)
    assert embedder(store, ["cnn-b", "cnn-c"]).embed(faces).computed == 24  # cnn-c's alone
    assert embedder(store, "cnn-c").embed(faces).computed == 0
    turned = embedder(store, ["cnn-b", "cnn-a"])
    assert turned.recipe.fingerprint != embedder(store, ["cnn-a", "cnn-b"]).recipe.fingerprint
    assert (turned.transform(faces) == np.concatenate(parts[::-1], axis=1)).all()


def test_joined_backbones_have_layers_weights_and_preprocessing_of_their_own(store, faces):
    clahe = Preprocess(equalize="clahe")
    joined = Embedder(
        ["cnn-a", "cnn-b"],
        layer=["dense2", None],
        weights=["random:1", "random:2"],
        preprocess=[None, clahe],
        normalize=True,
        store=store,
    )
    one = Embedder("cnn-a", layer="dense2", weights="random:1", normalize=True, store=store)
    two = Embedder("cnn-b", weights="random:2", preprocess=clahe, normalize=True, store=store)
    expected = np.concatenate([one.transform(faces), two.transform(faces)], axis=1)
    assert (joined.transform(faces) == expected).all()
    assert joined.recipe.dim == 128
    layers = embedder(store, layer=["dense2", "output"])  # of one backbone
    assert layers.transform(faces).shape == (24, 71)
    alone = embedder(store, ["cnn-a"], layer=("dense2",))
    assert alone.recipe == embedder(store, layer="dense2").recipe


def test_a_bad_image_fails_once_for_all_that_are_joined(store, faces):
    joined = embedder(store, ["cnn-a", "cnn-b"])
    images = [faces[0], b"no picture", faces[1], "missing.png", faces[0]]
    embedded = joined.embed(images)
    assert embedded.positions.tolist() == [0, 2, 4]
    assert [failure.position for failure in embedded.failures] == [1, 3]
    assert embedded.vectors.shape == (3, 128)
    assert embedded.computed == 4  # two faces by two backbones
    assert joined.transform([]).shape == (0, 128)


def test_lists_of_unequal_lengths_are_an_error(store, faces):
    with pytest.raises(ModelError, match="There are 2 of backbone, 3 of layer. Give one for all"):
        embedder(store, ["cnn-a", "cnn-b"], layer=["dense1"] * 3).transform(faces)
    with pytest.raises(ModelError, match="There are 0 of backbone"):
        embedder(store, []).transform(faces)


def test_the_engine_is_no_part_of_the_recipe(store, faces):
    embedder(store, engine="keras").transform(faces)
    assert embedder(store, engine="openvino").embed(faces).hits == 24


@pytest.mark.skipif(not _has_bfloat16(), reason="needs a CPU with bfloat16")
def test_rounded_vectors_are_stored_apart_and_serve_the_same_heads(store, faces, labels):
    exact = embedder(store).transform(faces)
    rounded = embedder(store, engine="openvino-bf16").embed(faces)
    assert (rounded.hits, rounded.computed) == (0, 24)
    assert (exact != rounded.vectors).any()
    assert (embedder(store).transform(faces) == exact).all()
    pipeline = Pipeline("cnn-a", "knn", weights="random", store=store)
    pipeline.set_params(head__n_neighbors=1).fit(faces, labels)
    assert pipeline.set_params(engine="openvino-bf16").score(faces, labels) == 1


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("FEREMBED_CACHE", str(tmp_path / "cache"))
    _load.cache_clear()  # what is loaded lies in another cache
    yield
    _load.cache_clear()


def test_an_int8_network_needs_calibration_and_has_vectors_of_its_own(store, faces, labels, cache):
    quick = embedder(store, engine="openvino-int8")
    with pytest.raises(WeightsError, match="quantize FACES --backbone cnn-a --weights random, or"):
        quick.transform(faces)
    exact = embedder(store).transform(faces)
    assert quick.quantize(faces) == ()
    in_integers = quick.embed(faces)
    assert (in_integers.hits, in_integers.computed) == (0, 24)
    norms = np.linalg.norm(exact, axis=1) * np.linalg.norm(in_integers.vectors, axis=1)
    cosines = (exact * in_integers.vectors).sum(axis=1) / norms
    assert cosines.min() > 0.99
    assert (exact != in_integers.vectors).any()
    assert quick.embed(faces).hits == 24
    assert (embedder(store).transform(faces) == exact).all()
    pipeline = Pipeline("cnn-a", "knn", weights="random", store=store)
    pipeline.set_params(head__n_neighbors=1).fit(faces, labels)
    assert pipeline.set_params(engine="openvino-int8").score(faces, labels) == 1


@pytest.mark.slow
def test_other_calibration_faces_give_another_int8_network(store, faces, cache):
    quick = embedder(store, engine="openvino-int8")
    quick.quantize(faces)
    before = quick.transform(faces)
    seen = []
    quick.set_params(progress=lambda *counts: seen.append(counts)).quantize(faces // 2)
    assert seen[23] == (24, None)
    assert seen[-1] == (len(seen) - 1, len(seen) - 1)
    after = quick.set_params(progress=None).embed(faces)
    assert after.hits == 0
    assert (after.vectors != before).any()
    quick.quantize(faces)  # as it was
    assert quick.embed(faces).hits == 24
    bright = embedder(store, engine="openvino-int8", preprocess=Preprocess("gray", 48, scale=1 / 9))
    with pytest.raises(WeightsError, match="cnn-a is not ready"):  # its numbers are others
        bright.transform(faces)


@pytest.mark.slow
def test_two_processes_may_quantize_at_once(store, faces, cache):
    quick = embedder(store, engine="openvino-int8")
    quick.quantize(faces)
    before = quick.transform(faces)
    quantizing = (
        "import sys, numpy as np; from ferembed import Embedder;"
        "faces = np.load(sys.argv[1]); Embedder('cnn-a', weights='random').quantize(faces // 2)"
    )
    np.save(f"{store}.npy", faces)
    assert run_python(quantizing, f"{store}.npy").returncode == 0
    after = quick.transform(faces)
    assert (after != before).any()
    _load.cache_clear()
    assert (embedder("none", engine="openvino-int8").transform(faces) == after).all()


@pytest.mark.slow
def test_a_damaged_int8_network_is_an_error_with_the_fix(store, faces, cache, tmp_path):
    quick = embedder(store, engine="openvino-int8")
    quick.quantize(faces)
    (numbers,) = (tmp_path / "cache" / "networks").glob("cnn-a-*-int8-*/network.bin")
    numbers.unlink()
    _load.cache_clear()
    with pytest.raises(WeightsError, match="is damaged: delete the folder .* and run ferembed qu"):
        quick.transform(faces)


@pytest.mark.slow
def test_a_backbone_that_is_no_network_stays_exact_beside_an_int8_one(store, faces, cache):
    names, weights = ["cnn-a", "distances"], ["random", None]
    both = Embedder(names, engine="openvino-int8", weights=weights, store=store)
    both.quantize(faces)
    exact = Embedder("distances", store="none").transform(faces)
    assert (both.transform(faces)[:, 64:] == exact).all()


@pytest.mark.slow
def test_nothing_is_reported_while_it_is_quiet(cache):
    code = (
        "import sys, numpy as np; from ferembed import Embedder;"
        "faces = np.random.default_rng(0).integers(0, 256, (20, 48, 48), dtype=np.uint8);"
        "Embedder('mini-vgg', store='none').quantize(faces);"
        "print([name for name in sys.modules if 'openvino_telemetry' in name])"
    )
    assert run_python(code).stdout == "[]\n"


def test_too_few_calibration_faces_are_refused(store, faces, cache, tmp_path, monkeypatch):
    (tmp_path / "letter.png").write_text("a letter")
    images = [*faces[:19], tmp_path / "letter.png"]
    with pytest.raises(WeightsError, match="needs at least 20 faces, got 19"):
        embedder(store).quantize(images)
    (failure,) = embedder(store).quantize([*images, faces[19]])
    assert "letter.png is not a picture" in failure.reason
    with pytest.raises(ImageError, match="Images are given as a list"):
        embedder(store).quantize("faces/")
    with pytest.raises(WeightsError, match="needs at least 20 faces, got 0"):
        embedder(store).quantize([])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"needs nncf. Run: pip install 'ferembed\[int8\]'"):
        import_nncf.__wrapped__()


def test_a_file_is_known_by_its_content_not_its_name(store, faces, tmp_path):
    one, two = tmp_path / "one.png", tmp_path / "two.png"
    PIL.Image.fromarray(faces[0]).save(one)
    two.write_bytes(one.read_bytes())
    embedded = embedder(store).embed([one, str(two), two.read_bytes()])
    assert (embedded.computed, embedded.hits) == (1, 0)
    PIL.Image.fromarray(faces[1]).save(one)
    changed = embedder(store).embed([one, two])
    assert (changed.computed, changed.hits) == (1, 1)
    assert not np.allclose(*changed.vectors)


def test_one_bad_image_never_costs_the_good_ones_their_work(store, faces):
    images = [faces[0], b"no picture", faces[1], "missing.png", np.zeros(3)]
    embedded = embedder(store).embed(images)
    assert embedded.positions.tolist() == [0, 2]
    assert [failure.position for failure in embedded.failures] == [1, 3, 4]
    assert "missing.png does not exist" in embedded.failures[1].reason
    with pytest.raises(ImageError) as error:
        embedder(store).transform(images)
    assert str(error.value).startswith(
        "3 of 5 images cannot be used; the vectors of the others are stored. Leave these out"
    )
    assert embedder(store).embed(faces[:2]).hits == 2


def test_equal_pictures_that_are_damaged_are_each_named(store, tmp_path):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"")
    files = [str(tmp_path / name) for name in ("a.png", "b.png")]
    embedded = Embedder("cnn-a", weights="random", store=store).embed(files)
    assert [failure.reason for failure in embedded.failures] == [
        f"{file} is empty (0 bytes)." for file in files
    ]
    with pytest.raises(ImageError, match="None of the 2 images can be used:\n .*a.png is empty"):
        Embedder("cnn-a", weights="random", store=store).transform(files)


def test_many_images_go_through_in_parts_and_keep_their_order(store):
    rng = np.random.default_rng(0)
    images = list(rng.integers(0, 256, (1100, 6, 6), dtype=np.uint8))
    images[700] = b"bad"
    parts = list(embedder(store).stream(images))
    assert [len(part.positions) for part in parts] == [512, 511, 76]
    assert np.concatenate([p.positions for p in parts]).tolist() == [
        i for i in range(1100) if i != 700
    ]
    whole = embedder(store).embed(images)
    alone = embedder("none").transform([images[1099]])
    assert np.abs(whole.vectors[-1] - alone[0]).max() < 1e-5


def test_no_thread_is_left_behind_by_an_error(faces):
    def images(error):
        for i in range(1500):
            if i == 1400:
                raise error
            yield np.full((6, 6), [i % 256] * 6, np.uint8)

    class Full(MemoryStore):
        def insert(self, recipe, keys, vectors):
            raise StoreError("full")

    before = set(threading.enumerate())
    for error in (ZeroDivisionError(), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            embedder("none").transform(images(error))
        assert set(threading.enumerate()) <= before
    with pytest.raises(StoreError, match="full") as held:
        list(embedder(Full()).stream(images(ValueError()), must_store=True))
    assert set(threading.enumerate()) <= before
    assert held.traceback  # though the error is still at hand
    parts = embedder("none").stream(np.zeros((3000, 6, 6), np.uint8))
    next(parts)
    parts.close()
    assert set(threading.enumerate()) <= before


def test_filling_holds_no_vectors(store, faces):
    filled = embedder(store).warm_store(iter(faces))
    assert filled.computed == len(filled.positions) == 24
    assert filled.vectors.shape == (0, 64)


def test_unit_vectors_and_a_blank_face(store, faces):
    vectors = embedder(store, normalize=True).transform([*faces, np.zeros((48, 48), np.uint8)])
    assert np.linalg.norm(vectors[:-1], axis=1) == pytest.approx(np.ones(24), abs=1e-5)
    assert vectors[-1].tolist() == [0] * 64  # a zero vector stays one


def test_a_picture_above_the_limit_is_a_failure(store, faces):
    failures = embedder(store, max_pixels=48 * 48 - 1).embed(faces[:1]).failures
    assert "the limit is 2,303" in failures[0].reason
    with pytest.raises(ImageError, match="Shrink it, or raise max_pixels"):
        embedder(store, max_pixels=100).transform(faces)
    assert issubclass(ImageTooLarge, ImageError)


def test_one_image_alone_is_not_taken_for_a_list(store):
    with pytest.raises(ImageError, match="a.png is a single one: put it in"):
        embedder(store).transform("a.png")


@pytest.mark.parametrize(
    "alone", [np.zeros((9, 9, 3), np.uint8), np.zeros((9, 9)), PIL.Image.new("L", (9, 9)), None]
)
def test_one_picture_alone_is_not_taken_for_many(store, alone):
    with pytest.raises(ImageError, match=r"is a single one: put it in \[ \]"):
        embedder(store).transform(alone)


def test_weights_trained_anew_under_the_same_name_are_new_weights(store, faces, tmp_path):
    from ferembed.backbones.cnn_a_to_g import build
    from ferembed.backbones.weight_files import save_weights

    path, vectors = tmp_path / "w.npz", []
    for number in (1, 2):
        model = build("cnn-a")
        model.set_weights([w + 0.01 * number for w in model.get_weights()])
        save_weights(model, path)
        os.utime(path, (number, number))
        vectors.append(Embedder("cnn-a", weights=str(path), store=store).transform(faces))
    assert not np.allclose(*vectors)
    fresh = run_python(
        "import sys; from ferembed import Embedder; import numpy as np;"
        "e = Embedder('cnn-a', weights=sys.argv[1], store='none');"
        "print(e.transform([np.full((48, 48), 99, np.uint8)])[0, :3].tolist())",
        str(path),
    )
    here = Embedder("cnn-a", weights=str(path), store="none")
    ours = here.transform([np.full((48, 48), 99, np.uint8)])[0, :3]
    assert eval(fresh.stdout) == pytest.approx(ours, abs=1e-5)


def test_a_preprocessing_that_the_network_cannot_take_is_named(store, faces):
    with pytest.raises(WeightsError, match="gives 40x40x1, and cnn-a takes 48x48x1"):
        embedder(store, preprocess=Preprocess(size=40)).transform(faces)


def test_pil_images_count_with_their_pixels():
    from ferembed.images import open_source

    assert open_source(PIL.Image.new("RGB", (100, 50))).nbytes == 15_000


def test_nothing_gives_no_rows(store):
    assert embedder(store).transform([]).shape == (0, 64)


def test_it_works_in_a_pipeline_of_scikit_learn(store, faces, labels):
    original = embedder(store, layer="dense2")
    assert clone(original).get_params() == original.get_params()
    model = make_pipeline(original, LogisticRegression(max_iter=1000)).fit(faces, labels)
    assert model.predict(faces).shape == (24,)
    wider = model.set_params(embedder__layer="flatten").fit(faces, labels)
    assert wider[-1].coef_.shape == (3, 4608)


def test_a_warm_store_needs_no_network_and_the_fast_engine_no_framework(store, faces, tmp_path):
    paths = []
    for i, face in enumerate(faces):
        paths.append(str(tmp_path / f"{i}.png"))
        PIL.Image.fromarray(face).save(paths[-1])
    code = (
        "import sys; from ferembed import Embedder;"
        "e = Embedder('cnn-a', weights='random', store=sys.argv[1], engine='openvino');"
        "done = e.embed(sys.argv[2:]);"
        "print(done.computed, *(m in sys.modules for m in ('tensorflow', 'keras', 'openvino')))"
    )
    embedder("none").transform(faces[:1])  # the ONNX file is in the cache now
    assert run_python(code, store, *paths).stdout.split() == ["24", "False", "False", "True"]
    assert run_python(code, store, *paths).stdout.split() == ["0", "False", "False", "False"]


@pytest.mark.slow
def test_memory_stays_bounded(tmp_path):
    """Filling in 8,000 pictures holds far less than their vectors."""
    code = (
        "import resource, sys, numpy as np\n"
        "from ferembed import Embedder\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n"
        "e = Embedder('cnn-a', layer='flatten', weights='random', store=sys.argv[1])\n"
        "picture = lambda i: np.full((2, 2), [[i % 256, i // 256], [7, 9]], np.uint8)\n"
        "e.warm_store(picture(i) for i in range(2000))\n"
        "before = peak()\n"
        "done = e.warm_store(picture(i) for i in range(2000, 10000)).computed\n"
        "print(done, peak() - before)"
    )
    done, growth = run_python(code, str(tmp_path / "s.sqlite")).stdout.split()
    assert done == "8000"
    assert float(growth) < 60  # MB; the vectors are 147


@pytest.mark.data
def test_2000_real_faces_once_embedded_are_never_embedded_again(store):
    from ferembed import Pipeline, datasets

    data = datasets.open(os.path.join(os.environ["FEREMBED_DATA"], "fer2013.zip")).split("train")
    data = data.select(np.arange(0, len(data), len(data) // 2000)[:2000])
    cold = Pipeline("cnn-a", "knn", weights="random", store=store).fit(data.images, data.labels)
    warm = Pipeline("cnn-a", "svm", weights="random", store=store).fit(data.images, data.labels)
    assert cold.computed_ >= 1950  # copies are computed once
    assert warm.computed_ == 0
    assert warm.from_store_ == 2000


PRINTING = """
import sys, time, numpy as np
from ferembed import BACKBONES, Embedder, Preprocess
from ferembed.backbones import Backbone, BackboneSpec

class Thumbnail(Backbone):
    def forward(self, batch):
        print(len(batch), flush=True)
        time.sleep(0.01)
        return batch.reshape(len(batch), -1)

SMALL = Preprocess("gray", 8)
BACKBONES.add("thumbnail", BackboneSpec(
    name="thumbnail", summary="pixels", preprocess=SMALL, layers=(("pixels", 64),),
    load=lambda request: Thumbnail(SMALL, 64), parameters=0))
faces = (np.full((8, 8), [i % 256, i // 256] * 4, np.uint8) for i in range(3000))
print("total", Embedder("thumbnail", store=sys.argv[1]).warm_store(faces).computed)
"""


@pytest.mark.parametrize("batches", [2, 11, 30])
def test_a_killed_run_loses_at_most_the_batch_in_flight(store, batches):
    process = subprocess.Popen(
        [sys.executable, "-c", PRINTING, store], stdout=subprocess.PIPE, text=True
    )
    computed = sum(int(process.stdout.readline()) for _ in range(batches))
    process.kill()
    computed += sum(map(int, process.stdout.read().split()))
    process.wait()
    process.stdout.close()
    assert 0 < computed < 3000
    kept, damaged = DiskStore(Path(store)).verify()
    assert computed - BATCH <= kept <= computed
    assert damaged == 0
    again = run_python(PRINTING, store)
    assert again.stdout.split()[-1] == str(3000 - kept)
    assert DiskStore(Path(store)).verify() == (3000, 0)


FORKED = """
import os, sys
import numpy as np
from ferembed import Embedder
faces = np.random.default_rng(0).integers(0, 256, (40, 48, 48), dtype=np.uint8)
embedder = Embedder("mini-vgg", store="none")
before = embedder.transform(faces)
child = os.fork()
if not child:
    os._exit(0 if np.allclose(embedder.transform(faces), before, atol=1e-4) else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that fork")
def test_a_forked_process_computes_too():
    assert run_python(FORKED).returncode == 0


def test_a_generator_may_use_one_array_for_all_its_pictures(store, faces):
    def one_after_the_other():
        held = np.empty((48, 48), np.uint8)
        for face in faces:
            held[:] = face
            yield held

    embedder = Embedder("cnn-a", weights="random", store=store)
    apart = Embedder("cnn-a", weights="random", store="none").transform(faces)
    assert np.array_equal(embedder.transform(one_after_the_other()), apart)
    assert np.array_equal(embedder.transform(faces), apart)


def test_distances_cannot_be_mirror_averaged(faces):
    with pytest.raises(ModelError, match="regions has no picture as input"):
        Embedder("regions", weights="random", mirror_average=True, store="none").transform(
            faces[:1]
        )
