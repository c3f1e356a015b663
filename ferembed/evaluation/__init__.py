"""Scores of a model, comparisons of models, and HTML reports."""

from ferembed.evaluation.comparison import compare
from ferembed.evaluation.evaluation import Evaluation, evaluate, scored_on
from ferembed.evaluation.predictions import Predictions

__all__ = ["Evaluation", "Predictions", "compare", "evaluate", "scored_on"]
