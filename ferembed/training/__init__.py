"""Train a backbone."""

from ferembed.training.loop import RECIPES, Recipe, train, train_backbone

__all__ = ["RECIPES", "Recipe", "train", "train_backbone"]
