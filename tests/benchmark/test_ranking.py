"""The choice of the best cell."""

from sklearn.dummy import DummyClassifier

from ferembed.benchmark import Grid, benchmark
from ferembed.datasets import Dataset
from ferembed.heads import HEADS, Head
from tests.helpers.grids import cells


class Unlucky(DummyClassifier):
    def fit(self, X, y, sample_weight=None):
        if not self.random_state:
            raise ValueError("bad luck")
        return super().fit(X, y)


def test_folds_choose_where_there_is_no_validation_split(data, grid, tmp_path):
    whole = Dataset.from_images([data.images[i] for i in range(len(data))], data.labels)
    outcome = benchmark(grid, whole, tmp_path, store="memory")
    assert "was chosen by 5 folds of the training split" in outcome.table()
    assert all(len(r["scores"]["folds"]) == 5 for r in cells(tmp_path).values())
    assert outcome.rows[0]["accuracy"] is None
    assert outcome.rows[0]["accuracy_folds"] > 0.6


def test_the_chosen_cell_is_one_that_was_fitted(data, tmp_path, monkeypatch):
    monkeypatch.setitem(HEADS._things, "unlucky", Head("unlucky", "fails at times", Unlucky))
    text = '[[cells]]\nbackbone = "mini-vgg"\nhead = "unlucky"\nseed = [0, 1]\n'
    outcome = benchmark(Grid.parse(text, "luck"), data, tmp_path, jobs=1, store="memory")
    assert (outcome.failed, outcome.chosen.seed) == (1, 1)
