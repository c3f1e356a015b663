"""A backbone of your own: one method.    python examples/own_backbone.py faces/

Here a face is its 8x8 thumbnail: a baseline that any network should beat.
"""

import sys

from sklearn.model_selection import cross_val_score

from ferembed import BACKBONES, Pipeline, Preprocess, datasets
from ferembed.backbones import Backbone, BackboneSpec

if len(sys.argv) != 2:
    sys.exit(__doc__)


class Thumbnail(Backbone):
    def forward(self, batch):
        return batch.reshape(len(batch), -1)


SMALL = Preprocess("gray", 8)
BACKBONES.add(
    "thumbnail",
    BackboneSpec(
        name="thumbnail",
        summary="the pixels of a very small picture",
        preprocess=SMALL,
        layers=(("pixels", 64),),
        load=lambda request: Thumbnail(request.preprocess or SMALL, 64),
        parameters=0,
    ),
)

training = datasets.open(sys.argv[1]).split("train")
scores = cross_val_score(
    Pipeline("thumbnail", "softmax"), list(training.images), training.labels, cv=2
)
print(f"{scores.mean():.1%} in cross-validation")
