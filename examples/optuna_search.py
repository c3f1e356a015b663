"""Let Optuna look for a head: python examples/optuna_search.py FOLDER_OF_FACES

It needs Optuna: pip install optuna. Vectors are computed once; each trial fits a head on them.
The networks that ship were trained on FER2013's training split: scores on its faces are optimistic.
"""

import sys

import optuna
from sklearn.model_selection import cross_val_score

from ferembed import Pipeline, datasets

if len(sys.argv) != 2:
    sys.exit(__doc__)

faces = datasets.open(sys.argv[1]).split("train")


def score(trial: optuna.Trial) -> float:
    pipeline = Pipeline(
        backbone=trial.suggest_categorical("backbone", ["mini-vgg", "fer-mobilenet"])
    )
    pipeline.set_params(
        head__C=trial.suggest_float("C", 0.01, 100, log=True),
        head__gamma=trial.suggest_float("gamma", 1e-4, 1e-1, log=True),
    )
    return cross_val_score(pipeline, faces.images, faces.labels, cv=3).mean()


study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=0))
study.optimize(score, n_trials=10)
print(f"{study.best_value:.1%} in cross-validation with {study.best_params}")
