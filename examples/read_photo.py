"""Which expressions does a photo show?    python examples/read_photo.py photo.jpg"""

import sys

from ferembed import Pipeline

if len(sys.argv) != 2:
    sys.exit(__doc__)

pipeline = Pipeline.load("default")
faces = pipeline.analyze(sys.argv[1])
if not faces:
    print("No face found.")
for face in faces:
    share = face.probabilities[face.label]
    print(f"{face.label} ({share:.0%}) at {face.box}")
