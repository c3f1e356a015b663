"""Search a head's parameters with scikit-learn.    python examples/search_head.py faces/

Every face is embedded once; all candidates after the first find its vector in the store.
The networks that ship were trained on FER2013's training split: scores on its faces are optimistic.
"""

import sys

from sklearn.model_selection import GridSearchCV

from ferembed import Pipeline, datasets

if len(sys.argv) != 2:
    sys.exit(__doc__)

training = datasets.open(sys.argv[1]).split("train")
grid = {"head__C": [0.001, 0.01, 0.1, 1, 10]}
search = GridSearchCV(Pipeline(head="softmax"), grid, cv=2)
search.fit(list(training.images), training.labels)
print(search.best_params_, f"{search.best_score_:.1%} in cross-validation")
