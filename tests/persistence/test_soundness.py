"""Trees and support vector machines of scikit-learn that were forged are found."""

import numpy as np
import pytest

from ferembed import Pipeline
from ferembed.errors import ModelError
from ferembed.persistence.soundness import is_sound
from tests.helpers.models import fitted, types_of


def test_a_forged_tree_is_refused(tmp_path, faces, labels):
    from sklearn.ensemble import RandomForestClassifier

    made = fitted(faces, labels, RandomForestClassifier(30, random_state=0))
    for attribute, value in (("children_left", 10**6), ("feature", 9999), ("children_right", 0)):
        made.fit(faces, labels)
        tree = next(t.tree_ for t in made.head_.estimators_ if t.tree_.node_count > 1)
        getattr(tree, attribute)[0] = value
        made.save(tmp_path / "model")
        with pytest.raises(ModelError, match="contains indices that are out of range"):
            Pipeline.load(tmp_path / "model", trusted=types_of(tmp_path / "model"))


def sound_models():
    from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.tree import DecisionTreeClassifier

    forest = RandomForestClassifier(3, random_state=0)
    boosting = GradientBoostingClassifier(n_estimators=2)
    return [DecisionTreeClassifier(), make_pipeline(StandardScaler(), forest), boosting]


@pytest.mark.parametrize("head", sound_models(), ids=lambda head: type(head).__name__)
def test_a_forged_tree_is_found_wherever_it_hides(head, tmp_path, faces, labels):

    made = Pipeline("cnn-a", head, weights="random", store="memory").fit(faces, labels)
    assert is_sound(made.head_)
    trees, seen = [], [made.head_]
    while seen:
        thing = seen.pop()
        if hasattr(thing, "tree_"):
            trees.append(thing.tree_)
        elif isinstance(thing, (list, tuple, np.ndarray)):
            seen += list(np.ravel(np.array(thing, dtype=object)))
        elif hasattr(thing, "__dict__"):
            seen += [v for k, v in vars(thing).items() if k in ("steps", "estimators_")]
    grown = next(tree for tree in trees if tree.node_count > 1)
    grown.feature[0] = 64
    assert not is_sound(made.head_)


@pytest.mark.parametrize("bagged", [False, True])
def test_a_forged_support_vector_machine_is_refused(bagged, tmp_path, faces, labels):
    from sklearn.ensemble import BaggingClassifier
    from sklearn.svm import SVC

    made = fitted(faces, labels, BaggingClassifier(SVC(), random_state=0) if bagged else SVC())
    inner = made.head_.estimators_[3] if bagged else made.head_
    inner._n_support = np.array([10**6, -2 * 10**6, 10**6 + 24], np.int32)
    made.save(tmp_path / "model")
    with pytest.raises(ModelError, match="contains indices that are out of range"):
        Pipeline.load(tmp_path / "model", trusted=types_of(tmp_path / "model"))
