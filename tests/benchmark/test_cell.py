import pytest

from ferembed.benchmark.cell import Cell
from ferembed.errors import UnknownName


def test_any_classifier_of_scikit_learn_is_a_head():
    cell = Cell(head="sklearn.svm.NuSVC", seed=4, parameters=(("nu", 0.2),))
    cell.check()
    assert repr(cell.make_head()) == "NuSVC(nu=0.2, random_state=4)"


def test_a_function_of_scikit_learn_is_not_called(tmp_path, monkeypatch):
    """clear_data_home would delete the data that scikit-learn keeps."""
    kept = tmp_path / "kept"
    kept.touch()
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path))
    with pytest.raises(UnknownName, match="is not a classifier of scikit-learn"):
        Cell(head="sklearn.datasets.clear_data_home").check()
    assert kept.exists()


def test_cells_of_one_backbone_and_preprocessing_share_vectors():
    one = Cell(head="svm", parameters=(("C", 1),))
    assert one.vectors == Cell(head="knn", seed=3).vectors
    assert one.vectors != Cell(preprocess="clahe").vectors
    trained = [Cell("cnn-a", weights="trained", seed=seed).vectors for seed in (0, 1)]
    assert trained[0] != trained[1]


def test_a_seed_reaches_every_head_that_draws():
    assert Cell(head="forest", seed=5).make_head().random_state == 5
    assert Cell(head="bagged-svm", seed=5).make_head().estimator.random_state == 5
    assert Cell(head="knn", seed=5).make_head().n_neighbors == 30
