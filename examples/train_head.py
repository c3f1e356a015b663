"""Fit a head on your own faces.    python examples/train_head.py faces/ my_model

faces/ holds train/<label>/*.png and validation/<label>/*.png, or is a zip of that.
"""

import sys

from ferembed import Pipeline, ProgressBar, datasets

if len(sys.argv) != 3:
    sys.exit(__doc__)

source, target = sys.argv[1:]
data = datasets.open(source)
training, validation = data.split("train"), data.split("validation")

pipeline = Pipeline(head="svm", progress=ProgressBar())
pipeline.fit(training.images, training.labels)
report, _ = pipeline.evaluate(validation.images, validation.labels)
print(report.table())
pipeline.save(target)
