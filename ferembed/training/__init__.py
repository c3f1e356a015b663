"""Training of backbones."""

from ferembed.training.augmentation import Augmentation
from ferembed.training.loop import train
from ferembed.training.recipe import RECIPES, TrainingRecipe
from ferembed.training.transfer import TrainingResult, train_backbone

__all__ = [
    "RECIPES",
    "Augmentation",
    "TrainingRecipe",
    "TrainingResult",
    "train",
    "train_backbone",
]
