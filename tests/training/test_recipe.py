"""Recipes: rates, the end of a run, and settings that are refused."""

import pytest

from ferembed.errors import TrainingError, UnknownName
from ferembed.training import Augmentation, TrainingRecipe


def rates(recipe, epochs):
    return [recipe.rate_after([0.5] * epoch) for epoch in range(epochs)]


def test_a_cosine_warms_up_stays_and_falls_to_almost_nothing():
    recipe = TrainingRecipe(epochs=20, rate=0.1, warmup_epochs=2, steady=0.5)
    found = rates(recipe, 20)
    assert found[0] == pytest.approx(0.1 / 3)
    assert found[2:11] == pytest.approx([0.1] * 9, abs=1e-4)
    assert found[10:] == sorted(found[10:], reverse=True)
    assert found[-1] < 0.004


def test_a_plateau_halves_the_rate_when_no_epoch_gets_better():
    recipe = TrainingRecipe(rate=0.1, warmup_epochs=0, schedule="plateau", patience=2)
    assert recipe.rate_after([0.3, 0.4, 0.4]) == pytest.approx(0.1)
    assert recipe.rate_after([0.3, 0.4, 0.4, 0.39]) == pytest.approx(0.05)
    assert recipe.rate_after([0.3, 0.4, 0.4, 0.39, 0.41]) == pytest.approx(0.05)
    assert recipe.rate_after([0.3, 0.4, 0.4, 0.39, 0.3, 0.3]) == pytest.approx(0.025)


def test_training_stops_when_no_epoch_gets_better():
    recipe = TrainingRecipe(epochs=10, stop_after=2)
    assert not recipe.ends_after([])
    assert not recipe.ends_after([0.1, 0.3, 0.2])
    assert recipe.ends_after([0.1, 0.3, 0.2, 0.2])
    assert recipe.ends_after([0.1 * n for n in range(10)])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rate", "abc"), ("rate", float("nan")), ("seed", -1), ("batch_size", True),
        ("momentum", 7), ("warmup_epochs", "x"), ("augmentation", 5), ("augmentation", {"foo": 1}),
    ],
)  # fmt: skip
def test_numbers_of_a_recipe_are_checked(name, value):
    with pytest.raises(TrainingError, match=f"{name} is "):
        TrainingRecipe(**{name: value})


def test_an_unknown_setting_is_refused_with_the_known_ones():
    with pytest.raises(UnknownName, match="No schedule is called 'cosin'. Did you mean 'cosine'"):
        TrainingRecipe(schedule="cosin")
    with pytest.raises(TrainingError, match="epochs is 0"):
        TrainingRecipe(epochs=0)
    assert TrainingRecipe(augmentation={"rotation": 3}).augmentation == Augmentation(rotation=3)
