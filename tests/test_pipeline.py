import os
import warnings

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.base import clone
from sklearn.ensemble import BaggingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.svm import SVC, LinearSVC
from sklearn.utils.estimator_checks import parametrize_with_checks

from ferembed import Embedder, Pipeline
from ferembed.backbones.preprocess import Preprocess
from ferembed.datasets import Dataset
from ferembed.errors import (
    ImageError,
    ImageTooLarge,
    LabelError,
    ModelError,
    UnknownName,
)
from ferembed.faces import FaceRecipe
from ferembed.heads import HEADS
from ferembed.images import load_image
from ferembed.labels import EIGHT_EXPRESSIONS, EXPRESSIONS

# scikit-learn's checks feed matrices of numbers, and a row of numbers is no image. Each check that
# cannot pass is here with its reason; what it is after is checked below on images, and by the
# heads' own suite on vectors.
_ROWS = "its rows are feature vectors, here a row is an image"


_BAD_ROWS = "it wants scikit-learn's wording for a bad matrix; bad images are told one by one"
_STATELESS = "nothing is looked at in fit: images are checked as they are embedded"


_BOTH = {
    **dict.fromkeys(
        [
            "check_estimators_dtypes",
            "check_dtype_object",
            "check_pipeline_consistency",
            "check_estimators_pickle",
            "check_f_contiguous_array_estimator",
            "check_methods_sample_order_invariance",
            "check_methods_subset_invariance",
            "check_dict_unchanged",
            "check_fit_idempotent",
        ],
        _ROWS,
    ),
    **dict.fromkeys(
        [
            "check_n_features_in_after_fitting",
            "check_n_features_in",
        ],
        "images have no fixed number of features",
    ),
    **dict.fromkeys(
        [
            "check_complex_data",
            "check_estimators_empty_data_messages",
            "check_estimators_nan_inf",
            "check_fit2d_predict1d",
        ],
        _BAD_ROWS,
    ),
}


EXPECTED = {
    "Embedder": {
        **_BOTH,
        "check_estimator_sparse_tag": _STATELESS,
        "check_fit_score_takes_y": "the second argument of fit is called labels",
        "check_fit1d": _STATELESS,
        **dict.fromkeys(
            [
                "check_transformer_data_not_an_array",
                "check_transformer_general",
                "check_transformer_preserve_dtypes",
                "check_transformers_unfitted_stateless",
            ],
            _ROWS,
        ),
    },
    "Pipeline": {
        **_BOTH,
        **dict.fromkeys(
            [
                "check_fit_score_takes_y",
                "check_estimators_overwrite_params",
                "check_dont_overwrite_parameters",
                "check_estimators_fit_returns_self",
                "check_readonly_memmap_input",
                "check_positive_only_tag_during_fit",
                "check_classifier_data_not_an_array",
                "check_classifiers_one_label",
                "check_classifiers_classes",
                "check_classifiers_train",
                "check_classifiers_regression_target",
                "check_supervised_y_2d",
                "check_fit_check_is_fitted",
            ],
            _ROWS,
        ),
        "check_requires_y_none": "labels are an argument that cannot be left out",
        **dict.fromkeys(
            [
                "check_estimator_sparse_array",
                "check_estimator_sparse_matrix",
                "check_fit2d_1sample",
                "check_fit2d_1feature",
            ],
            _BAD_ROWS,
        ),
    },
}


@parametrize_with_checks(
    [
        Embedder("cnn-a", weights="random", store="memory"),
        Pipeline("cnn-a", "knn", weights="random", store="memory"),
    ],
    expected_failed_checks=lambda estimator: EXPECTED[type(estimator).__name__],
)
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


def pipeline(head="knn", **options):
    made = Pipeline("cnn-a", head, weights="random", store="memory", **options)
    neighbors = {"head__n_neighbors": 3}
    small = {
        "knn": neighbors,
        "approximate-knn": neighbors,
        "bagged-svm": {"head__max_samples": 20},
    }
    return made.set_params(**small.get(head, {}) if isinstance(head, str) else {})


def test_fit_returns_itself_and_leaves_its_parameters_alone(faces, labels):
    made = pipeline()
    before = repr(made.get_params())
    assert made.fit(faces, labels) is made
    assert repr(made.get_params()) == before


@pytest.mark.parametrize("head", HEADS.names())
def test_every_head_fits_its_training_faces(head, faces, labels):
    made = pipeline(head)
    if head == "softmax":
        made.set_params(head__C=1e4)
    shares = made.fit(faces, labels).predict_proba(faces)
    assert made.classes_.tolist() == ["angry", "happy", "sad"]
    assert shares.shape == (24, 3)
    assert shares.sum(axis=1) == pytest.approx(np.ones(24))
    assert (made.classes_[shares.argmax(axis=1)] == made.predict(faces)).all()
    if head in ("softmax", "knn"):
        assert made.score(faces, labels) >= 0.5


def test_each_row_belongs_to_its_image_in_any_order(faces, labels):
    made = pipeline("softmax").fit(faces, labels)
    order = np.random.default_rng(0).permutation(24)
    expected = made.predict_proba(faces)[order]
    assert made.predict_proba(faces[order]) == pytest.approx(expected, abs=1e-6)
    assert made.predict_proba(faces[order][:1])[0] == pytest.approx(expected[0], abs=1e-6)


def test_two_fits_are_equal(faces, labels):
    one, two = (pipeline("bagged-svm").fit(faces, labels).predict_proba(faces) for _ in range(2))
    assert (one == two).all()


def test_labels_may_be_numbers(faces, labels):
    numbers = np.where(labels == "happy", 3, 0)
    made = pipeline().fit(faces, numbers)
    assert made.classes_.tolist() == [0, 3]
    assert made.predict(faces).dtype.kind == "i"


def test_any_classifier_can_be_the_head(faces, labels):
    head = LogisticRegression(C=0.5, max_iter=500)
    made = pipeline(head).fit(faces, labels)
    assert made.head_ is not head
    assert made.head_.C == 0.5
    assert not hasattr(head, "coef_")


def test_a_head_without_probabilities_predicts_labels_only(faces, labels):
    made = pipeline(LinearSVC(C=0.01)).fit(faces, labels)
    assert made.predict(faces).shape == (24,)
    with pytest.raises(ModelError, match="The head LinearSVC gives no probabilities. Wrap it in"):
        made.predict_proba(faces)


def test_parameters_of_a_named_head_are_reached(faces):
    made = Pipeline(head="svm").set_params(head__C=7, backbone="cnn-a")
    assert made.head.C == 7
    assert clone(made).head.C == 7
    assert Pipeline().set_params(head="svm", head__gamma=0.5).head.gamma == 0.5
    with pytest.raises(UnknownName, match="'head__gama'. Did you mean 'head__gamma'?"):
        Pipeline().set_params(head__gama=7)
    nested = Pipeline(head=BaggingClassifier(SVC())).set_params(head__estimator__C=7)
    assert nested.head.estimator.C == 7
    with pytest.raises(ValueError, match="Invalid parameter 'penalti'"):
        nested.set_params(head__estimator__penalti=7)


def scores_one_by_one(search, images, labels):
    """The mean score of each setting of a search, by a pipeline made for it alone."""
    return [
        cross_val_score(
            clone(search.estimator).set_params(**parameters), images, labels, cv=2
        ).mean()
        for parameters in search.cv_results_["params"]
    ]


@pytest.mark.slow
def test_a_grid_search_over_head_and_backbone(faces, labels):
    grid = {"head__C": [0.1, 10], "backbone": ["cnn-a", "cnn-b"], "layer": ["dense1", "flatten"]}
    search = GridSearchCV(pipeline("svm"), grid, cv=2).fit(faces, labels)
    assert len(search.cv_results_["params"]) == 8
    scores = search.cv_results_["mean_test_score"]
    assert len(set(scores)) > 1
    assert scores == pytest.approx(scores_one_by_one(search, faces, labels))
    assert search.best_estimator_.predict(faces).shape == (24,)


def test_halving_takes_a_pipeline_too(faces, labels):
    from sklearn.experimental import enable_halving_search_cv  # noqa: F401
    from sklearn.model_selection import HalvingGridSearchCV

    grid = {"head__C": [0.1, 1, 10], "layer": ["dense1", "dense2"]}
    search = HalvingGridSearchCV(pipeline("softmax"), grid, cv=2, min_resources=12, random_state=0)
    search.fit(faces, labels)
    assert set(search.best_params_) == {"head__C", "layer"}
    assert search.n_resources_ == [12]


@pytest.mark.slow
def test_a_grid_search_over_what_is_joined(faces, labels):
    grid = {"backbone": ["cnn-a", ["cnn-a", "cnn-b"], ("cnn-b", "cnn-c")], "head__C": [0.1, 10]}
    search = GridSearchCV(pipeline("svm"), grid, cv=2).fit(faces, labels)
    scores = search.cv_results_["mean_test_score"]
    assert len(set(scores)) > 1
    assert scores == pytest.approx(scores_one_by_one(search, faces, labels))
    assert search.cv_results_["params"][2]["backbone"] == ["cnn-a", "cnn-b"]
    joined = clone(pipeline("svm").set_params(backbone=["cnn-a", "cnn-b"])).fit(faces, labels)
    assert joined.head_.n_features_in_ == 128
    assert joined.predict(faces).shape == (24,)
    with pytest.raises(ModelError, match="fitted on other vectors than are made here"):
        joined.set_params(backbone=["cnn-b", "cnn-a"]).predict(faces)


def test_cross_validation_over_a_list_of_images(faces, labels):
    scores = cross_val_score(pipeline(), list(faces), labels, cv=3)
    assert scores.shape == (3,)


def test_the_vectors_of_a_second_fit_come_from_the_store(faces, labels, tmp_path):
    store = str(tmp_path / "s.sqlite")
    first = Pipeline("cnn-a", "forest", weights="random", store=store).fit(faces, labels)
    second = Pipeline("cnn-a", "softmax", weights="random", store=store).fit(faces, labels)
    assert (first.computed_, first.from_store_) == (24, 0)
    assert (second.computed_, second.from_store_) == (0, 24)


def test_wrong_labels_are_errors(faces, labels):
    with pytest.raises(LabelError, match="24 images and 23 labels. Give one label for each image"):
        pipeline().fit(faces, labels[:-1])
    with pytest.raises(LabelError, match=r"24 images have 1 different labels \['sad'\]"):
        pipeline().fit(faces, ["sad"] * 24)
    with pytest.raises(LabelError, match=r"a label per image, not as \(24, 1\)"):
        pipeline().fit(faces, labels[:, None])
    with pytest.raises(UnknownName, match="No head is called 'svn'. Did you mean 'svm'?"):
        Pipeline("cnn-a", "svn", weights="random", store="memory").fit(faces, labels)


@pytest.mark.parametrize(
    "odd", [[1, "sad"] * 12, [None, "sad"] * 12, [0.5, 1.5] * 12, [b"a", b"b"] * 12]
)
def test_labels_of_odd_kinds_are_refused_before_any_work(odd, tmp_path, faces):
    made = Pipeline("cnn-a", "softmax", weights="random", store=str(tmp_path / "s.sqlite"))
    with pytest.raises(LabelError, match="Labels are all words or all whole numbers, not"):
        made.fit(faces, odd)
    with pytest.raises(LabelError, match="24 images and 3 labels"):
        made.fit(faces, ["a", "b", "c"])
    assert not list(tmp_path.iterdir())


def test_too_few_faces_for_the_neighbours_are_an_error_at_fit(faces, labels):
    with pytest.raises(LabelError, match="The head asks 30 neighbours and has 24 faces"):
        Pipeline("cnn-a", "knn", weights="random", store="memory").fit(faces, labels)


def test_a_fit_that_fails_leaves_the_one_before(faces, labels):
    made = Pipeline("cnn-a", "knn", weights="random", store="memory")
    with pytest.raises(LabelError):
        made.fit(faces, labels)
    with pytest.raises(NotFittedError):
        made.predict(faces)
    made.set_params(head__n_neighbors=3).fit(faces, labels)
    answers = made.predict(faces).tolist()
    with pytest.raises(LabelError):
        made.fit(faces[:2], ["no", "yes"])
    assert made.predict(faces).tolist() == answers


def test_an_unknown_detector_is_an_error_at_fit(faces, labels):
    with pytest.raises(UnknownName, match="Did you mean 'haar'"):
        pipeline(detector="har").fit(faces, labels)


@pytest.mark.parametrize(
    "change", [{"backbone": "cnn-b"}, {"layer": "dense2"}, {"normalize": True}]
)
def test_a_fitted_head_never_predicts_from_other_vectors(change, faces, labels, tmp_path):
    made = pipeline().fit(faces, labels).set_params(**change)
    for use in (made.predict, made.predict_proba, lambda f: made.evaluate(f, labels), made.analyze):
        with pytest.raises(ModelError, match="fitted on other vectors than are made here"):
            use(faces if use != made.analyze else np.zeros((9, 9), np.uint8))
    with pytest.raises(ModelError, match="fitted on other vectors"):
        made.save(tmp_path / "model")
    assert made.fit(faces, labels).predict(faces).shape == (24,)


def test_evaluation_wants_a_label_for_each_image(faces, labels):
    made = pipeline().fit(faces, labels)
    for wrong in (labels[:10], [*labels, *labels]):
        with pytest.raises(LabelError, match="There are 24 images and"):
            made.evaluate(faces, wrong)


def test_threads_share_a_pipeline(faces, labels, portrait):
    from concurrent.futures import ThreadPoolExecutor

    made = pipeline("softmax").fit(faces, labels)
    expected, found = made.predict_proba(faces), made.analyze(portrait)
    with ThreadPoolExecutor(6) as threads:
        shares = list(threads.map(lambda _: made.predict_proba(faces), range(24)))
        photos = list(threads.map(lambda _: made.analyze(portrait), range(12)))
    assert all(share == pytest.approx(expected, abs=1e-6) for share in shares)
    assert all([p.box for p in photo] == [p.box for p in found] for photo in photos)


def test_a_search_in_several_processes(faces, labels, tmp_path):
    made = Pipeline("cnn-a", "softmax", weights="random", store=str(tmp_path / "s.sqlite"))
    workers = tmp_path / "workers"
    workers.mkdir()

    def score(fitted, images, expected):
        (workers / str(os.getpid())).touch()
        return -log_loss(expected, fitted.predict_proba(images))

    grid = {"head__C": [0.1, 1], "normalize": [True, False]}
    alone, several = (
        GridSearchCV(made, grid, scoring=score, cv=2, n_jobs=jobs).fit(faces, labels)
        for jobs in (1, 2)
    )
    scores = alone.cv_results_["mean_test_score"]
    assert len({round(one, 6) for one in scores}) == 4
    assert several.cv_results_["mean_test_score"] == pytest.approx(scores, abs=1e-6)
    assert {path.name for path in workers.iterdir()} > {str(os.getpid())}


def test_an_unreadable_face_is_an_error_or_skipped_on_request(faces, labels):
    images = [*faces, b"no face"]
    with pytest.raises(ImageError, match="1 of 25 images cannot be used"):
        pipeline().fit(images, [*labels, "sad"])
    made = pipeline().fit(images, [*labels, "sad"], skip_unreadable=True)
    assert [failure.position for failure in made.failures_] == [24]
    assert made.predict(faces).shape == (24,)
    with pytest.raises(ImageError):
        made.predict(images)


def test_an_unfitted_pipeline_is_an_error(faces):
    from sklearn.exceptions import NotFittedError

    for use in (pipeline().predict, pipeline().predict_proba, pipeline().analyze):
        with pytest.raises(NotFittedError):
            use(faces)
    with pytest.raises(NotFittedError):
        pipeline().save("nowhere")


def test_no_faces_give_no_rows(faces, labels):
    made = pipeline().fit(faces, labels)
    assert made.predict([]).shape == (0,)
    assert made.predict_proba([]).shape == (0, 3)


def test_a_photo_is_analysed_face_by_face(faces, labels, portrait):
    made = pipeline("softmax").fit(faces, labels)
    (prediction,) = made.analyze(portrait)
    x1, y1, x2, y2 = prediction.face.box
    assert 130 < x1 < 200 < 330 < x2 < 400
    assert 80 < y1 < 150 < 300 < y2 < 350
    assert list(prediction.probabilities) == ["angry", "happy", "sad"]
    assert sum(prediction.probabilities.values()) == pytest.approx(1)
    assert prediction.label == max(prediction.probabilities, key=prediction.probabilities.get)


def test_a_face_from_a_photo_has_the_vector_of_its_crop(faces, labels, portrait):
    cutting = FaceRecipe("haar", margin=0.2, align="eyes")
    ((face, crop),) = cutting(load_image(portrait))
    made = pipeline("knn", detector=cutting)
    made.set_params(head__n_neighbors=1)
    made.fit([*faces, crop], [*labels, "surprise"])
    (prediction,) = made.analyze(portrait)
    assert prediction.face == face
    assert prediction.label == "surprise"  # the nearest of its neighbours is its own crop
    assert made.embedder.embed([crop]).hits == 1


def test_a_landscape_has_no_face_and_a_face_alone_needs_no_detector(faces, labels):
    made = pipeline().fit(faces, labels)
    assert made.analyze(np.full((300, 400, 3), 130, np.uint8)) == []
    made.set_params(detector=None)
    (prediction,) = made.analyze(faces[0])
    assert prediction.face.box == (0, 0, 48, 48)
    assert prediction.label == made.predict(faces[:1])[0]


def test_evaluation_counts_what_it_leaves_out(faces, labels):
    made = pipeline().fit(faces, labels)
    report, failures = made.evaluate([*faces, b"x"], [*labels, "sad"])
    assert report.count == 24
    assert report.accuracy == made.score(faces, labels)
    assert len(failures) == 1


def test_a_pixel_limit_holds_for_photos(faces, labels, portrait):
    made = pipeline(max_pixels=48 * 48).fit(faces, labels)
    with pytest.raises(ImageTooLarge):
        made.analyze(portrait)


def test_fitting_warns_of_nothing(faces, labels):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pipeline("svm", preprocess=Preprocess(equalize="histogram")).fit(faces, labels)


@pytest.mark.parametrize(
    ("label_set", "columns", "classes"),
    [("ferplus", slice(0, 8), EIGHT_EXPRESSIONS), ("fer2013", slice(8, 15), EXPRESSIONS)],
)
def test_networks_that_ship_predict_a_label_set_and_several_predict_the_mean(
    faces, label_set, columns, classes
):
    names = ("mini-vgg", "fer-mobilenet")
    logits = [Embedder(name, layer="logits", store="none").transform(faces) for name in names]
    made = Pipeline.from_networks(*names, label_set=label_set, store="none")
    expected = softmax(np.mean(logits, axis=0)[:, columns], axis=1)[:, np.argsort(classes)]
    assert made.predict_proba(faces) == pytest.approx(expected, abs=1e-5)
    assert made.classes_.tolist() == sorted(classes)


def test_a_pipeline_of_networks_needs_their_last_layers_and_a_label_set_that_they_know():
    with pytest.raises(ModelError, match="cnn-a has no last layer"):
        Pipeline.from_networks("cnn-a")
    with pytest.raises(ModelError, match="vggface2-mobilenet has no last layer"):
        Pipeline.from_networks("vggface2-mobilenet")
    with pytest.raises(UnknownName, match="No label set of mini-vgg is called 'affectnet'"):
        Pipeline.from_networks("mini-vgg", label_set="affectnet")


def test_a_data_set_brings_its_labels(faces, labels):
    data = Dataset.from_images(faces, labels)
    made = pipeline("softmax").fit(data)
    assert (
        made.predict(faces).tolist()
        == pipeline("softmax").fit(faces, labels).predict(faces).tolist()
    )
    with pytest.raises(LabelError, match="A data set brings its labels"):
        made.fit(data, labels)


def test_a_head_with_invalid_predictions_is_a_model_error(faces, labels):
    made = Pipeline("cnn-a", "softmax", weights="random", store="memory").fit(faces, labels)
    made.head_.coef_ = np.full_like(made.head_.coef_, np.nan)
    with pytest.raises(ModelError, match="does not predict as it should: its probabilities are no"):
        made.predict_proba(faces)
    made.head_.coef_ = made.head_.coef_[:, :3]
    for ask in (made.predict, made.predict_proba):
        with pytest.raises(ModelError, match="Softmax does not predict as it should: ValueError"):
            ask(faces)
