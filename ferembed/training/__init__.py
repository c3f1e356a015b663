"""Training of backbones."""

from ferembed.training.augmentation import Augmentation
from ferembed.training.loop import train
from ferembed.training.recipe import RECIPES, TrainingRecipe, recipe_for
from ferembed.training.transfer import TrainingResult, train_backbone

__all__ = [
    "RECIPES",
    "Augmentation",
    "TrainingRecipe",
    "TrainingResult",
    "recipe_for",
    "train",
    "train_backbone",
]
