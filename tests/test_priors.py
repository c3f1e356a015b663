import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, RidgeClassifier

from ferembed import Pipeline
from ferembed.errors import LabelError, ModelError
from ferembed.heads import Softmax
from ferembed.priors import prior_factors, reweighted, training_prior

TRAINED = {"happy": 0.6, "sad": 0.4}
ROWS = np.array([[0.75, 0.25], [0.6, 0.4], [1.0, 0.0]])


def changed(prior, strength=1.0, rows=ROWS):
    return reweighted(rows, prior_factors(prior, strength, ["happy", "sad"], TRAINED))


def test_a_uniform_prior_by_hand():
    assert changed("uniform")[0] == pytest.approx([(0.75 / 0.6) / (0.75 / 0.6 + 0.25 / 0.4), 1 / 3])
    assert changed("uniform")[1] == pytest.approx([0.5, 0.5])  # the prior itself says nothing
    assert changed("uniform")[2] == pytest.approx([1, 0])


def test_a_custom_prior_need_not_sum_to_one():
    given = changed({"happy": 2, "sad": 8})
    assert given[0] == pytest.approx([0.75 / 3 / (0.75 / 3 + 0.5), 0.5 / (0.75 / 3 + 0.5)])
    assert given == pytest.approx(changed({"sad": 0.8, "happy": 0.2}))


def test_strength_is_the_power_of_the_change():
    half = changed("uniform", 0.5)[0]
    odds = (0.75 / 0.25) * (0.4 / 0.6) ** 0.5
    assert half[0] / half[1] == pytest.approx(odds)
    assert changed("uniform", 0) == pytest.approx(ROWS)


def test_a_class_that_is_not_there_is_never_predicted():
    given = changed({"happy": 0, "sad": 1})
    assert given[:2] == pytest.approx(np.array([[0, 1], [0, 1]]))
    assert given[2] == pytest.approx([0, 1])  # a row of which nothing is left


def test_the_prior_of_a_head_is_that_of_its_labels_and_class_weights():
    labels = ["sad", "happy", "happy", "happy"]
    assert training_prior(labels) == {"happy": 0.75, "sad": 0.25}
    assert training_prior(labels, "balanced") == {"happy": 0.5, "sad": 0.5}
    assert training_prior(labels, {"happy": 1 / 3}) == pytest.approx({"happy": 0.5, "sad": 0.5})
    assert training_prior(np.array([3, 0, 3, 3])) == {"0": 0.25, "3": 0.75}


@pytest.mark.parametrize(
    ("prior", "strength", "message"),
    [
        ("flat", 1, "prior is 'flat'. It is None, 'uniform', or a mapping"),
        ({"happy": 1}, 1, "The prior lacks sad. Give a share for each of happy, sad"),
        ({"happy": 1, "sad": 1, "bored": 1}, 1, "The prior has 'bored', not known"),
        ({"happy": -1, "sad": 1}, 1, "Shares are numbers from 0"),
        ({"happy": float("nan"), "sad": 1}, 1, "Shares are numbers from 0"),
        ({"happy": 0, "sad": 0}, 1, "one of them is above 0"),
        ("uniform", 1.5, "prior_strength is 1.5. It is a number from 0 to 1"),
    ],
)
def test_a_prior_that_makes_no_sense_is_refused(prior, strength, message):
    with pytest.raises(LabelError, match=message):
        changed(prior, strength)


def test_without_the_shares_in_training_nothing_can_be_changed():
    with pytest.raises(ModelError, match="trained on are not known"):
        prior_factors("uniform", 1, ["happy", "sad"], None)
    assert prior_factors(None, 1, ["happy", "sad"], None) is None


# --- pipelines ------------------------------------------------------------------------------------

UNEVEN = np.array(["happy", "sad", "happy", "contempt"] * 6)


@pytest.fixture
def eight(faces):
    """A pipeline that knows contempt."""
    made = Pipeline("cnn-a", Softmax(), weights="random", store="memory", detector="none")
    return made.fit(faces, UNEVEN)


def test_a_pipeline_knows_what_it_was_trained_on(eight, faces):
    assert eight.training_prior_ == {"contempt": 0.25, "happy": 0.5, "sad": 0.25}
    plain = eight.predict_proba(faces)
    even = eight.set_params(prior="uniform").predict_proba(faces)
    expected = plain * [4, 2, 4]
    assert even == pytest.approx(expected / expected.sum(axis=1, keepdims=True))
    assert even.sum(axis=1) == pytest.approx(np.ones(len(faces)))
    assert eight.predict(faces).tolist() == eight.classes_[even.argmax(axis=1)].tolist()
    [found] = eight.analyze(faces[0]) or [None]
    assert list(found.probabilities.values()) == pytest.approx(even[0, [1, 2, 0]])


def test_balanced_class_weights_are_no_prior(faces):
    head = LogisticRegression(class_weight="balanced")
    made = Pipeline("cnn-a", head, weights="random", store="memory").fit(faces, UNEVEN)
    assert set(made.training_prior_.values()) == {1 / 3}
    before = made.predict_proba(faces)
    assert made.set_params(prior="uniform").predict_proba(faces) == pytest.approx(before)


def test_a_prior_that_does_not_fit_the_labels_is_refused_before_fitting(faces):
    made = Pipeline("cnn-a", "knn", weights="random", store="memory", prior={"happy": 1.0})
    with pytest.raises(LabelError, match="The prior lacks contempt, sad. Give"):
        made.fit(faces, UNEVEN)


def test_a_head_of_eight_classes_predicts_seven(eight, faces):
    before = eight.predict_proba(faces)
    eight.set_params(expressions=7)
    assert eight.classes_.tolist() == ["happy", "sad"]
    without = before[:, 1:] / before[:, 1:].sum(axis=1, keepdims=True)
    assert eight.predict_proba(faces) == pytest.approx(without)
    assert set(eight.predict(faces)) <= {"happy", "sad"}
    assert list(eight.analyze(faces[0])[0].probabilities) == ["happy", "sad"]
    report, _ = eight.evaluate(faces[:3], ["happy", "sad", "happy"])
    assert report.labels == ("happy", "sad")
    eight.set_params(prior={"happy": 0.5, "sad": 0.5})
    both = without / [2 / 3, 1 / 3]
    assert eight.predict_proba(faces) == pytest.approx(both / both.sum(axis=1, keepdims=True))


def test_eight_classes_need_a_head_that_knows_them(eight, faces, labels):
    assert eight.set_params(expressions=8).classes_.tolist() == ["contempt", "happy", "sad"]
    made = Pipeline("cnn-a", "softmax", weights="random", store="memory", expressions=8)
    with pytest.raises(ModelError, match="does not know contempt: angry, happy, sad"):
        made.fit(faces, labels)
    with pytest.raises(LabelError, match="expressions is 6. It is 7, or 8 with contempt"):
        made.set_params(expressions=6).fit(faces, labels)


@pytest.mark.parametrize("name", ["model", "model.ferembed"])
@pytest.mark.parametrize("prior", ["uniform", {"happy": 0.2, "sad": 0.8}])
def test_a_prior_is_saved_with_the_model(eight, faces, tmp_path, name, prior):
    eight.set_params(prior=prior, prior_strength=0.5, expressions=7).save(tmp_path / name)
    again = Pipeline.load(tmp_path / name, store="none")
    assert (again.prior, again.prior_strength, again.expressions) == (prior, 0.5, 7)
    assert again.training_prior_ == eight.training_prior_
    assert again.predict_proba(faces) == pytest.approx(eight.predict_proba(faces))
    other = Pipeline.load(tmp_path / name, store="none", prior=None, expressions=None)
    eight.set_params(prior=None, expressions=None)
    assert other.predict_proba(faces) == pytest.approx(eight.predict_proba(faces))


def test_a_prior_given_when_loading_is_checked_then(eight, tmp_path):
    eight.save(tmp_path / "model")
    with pytest.raises(LabelError, match="prior is 'even'"):
        Pipeline.load(tmp_path / "model", prior="even")


def test_a_head_from_elsewhere_brings_its_prior(eight, faces):
    settings = {"backbone": "cnn-a", "weights": "random", "store": "memory", "prior": "uniform"}
    shares = {"happy": 0.5, "sad": 0.25, "contempt": 0.25}
    made = Pipeline.from_head(eight.head_, training_prior=shares, **settings)
    eight.set_params(prior="uniform")
    assert made.predict_proba(faces) == pytest.approx(eight.predict_proba(faces))
    with pytest.raises(ModelError, match="trained on are not known"):
        Pipeline.from_head(eight.head_, **settings)
    with pytest.raises(LabelError, match="share above 0 for each of contempt, happy, sad"):
        Pipeline.from_head(eight.head_, training_prior={"happy": 1.0}, **settings)


def test_a_head_without_probabilities_keeps_its_prior(faces, labels):
    made = Pipeline("cnn-a", RidgeClassifier(), weights="random", store="memory").fit(faces, labels)
    assert len(made.predict(faces)) == len(faces)
    with pytest.raises(ModelError, match="gives no probabilities"):
        made.set_params(prior="uniform").predict(faces)
