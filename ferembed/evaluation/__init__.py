"""Scores of a model, comparisons of models, and HTML reports."""

from ferembed.evaluation.comparison import Answers, compare
from ferembed.evaluation.evaluation import Evaluation, evaluate, scored_on

__all__ = ["Answers", "Evaluation", "compare", "evaluate", "scored_on"]
