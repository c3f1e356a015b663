"""What scikit-learn asks of our estimators beside its own checks, which other files run."""

import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.utils import get_tags

from ferembed import Embedder, Pipeline
from ferembed.heads.softmax import Softmax


def test_scikit_learn_recognizes_the_estimators():
    class Theirs(ClassifierMixin, BaseEstimator):
        pass

    class Transformer(TransformerMixin, BaseEstimator):
        pass

    assert get_tags(Softmax()) == get_tags(Pipeline()) == get_tags(Theirs())
    expected = get_tags(Transformer())
    expected.requires_fit = False
    assert get_tags(Embedder()) == expected
    assert is_classifier(Pipeline())
    assert not is_classifier(Embedder())


def test_they_are_shown_by_what_was_changed_alone_and_inside_of_others():
    assert repr(Pipeline("cnn-a", Softmax(C=3))) == "Pipeline(backbone='cnn-a', head=Softmax(C=3))"
    assert "Embedder(backbone='cnn-a')" in repr(make_pipeline(Embedder("cnn-a"), Softmax()))
    assert "Embedder" in make_pipeline(Embedder("cnn-a"), Softmax())._repr_html_()
    assert "Softmax" in Softmax(C=3)._repr_html_()


def test_wrong_parameters_and_unfitted_heads_raise_scikit_learns_errors():
    with pytest.raises(ValueError, match="Invalid parameter 'D' for estimator Softmax"):
        Softmax().set_params(D=1)
    with pytest.raises(NotFittedError, match="Softmax instance is not fitted yet"):
        Softmax().predict_proba([[1.0]])
