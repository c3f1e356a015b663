"""Train a backbone."""

from ferembed.training.loop import RECIPES, Augmentation, Recipe, train, train_backbone

__all__ = ["RECIPES", "Augmentation", "Recipe", "train", "train_backbone"]
