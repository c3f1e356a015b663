"""Who shows what when in a video, or to the camera?    python examples/video.py clip.mp4"""

import sys

from ferembed import Pipeline
from ferembed.media.watch import watch

pipeline = Pipeline.load("default")
source = sys.argv[1] if len(sys.argv) > 1 else 0  # the first camera
shown = {}
for frame in watch(pipeline, source):
    for person in frame.people:
        if shown.get(person.number) != person.label:
            shown[person.number] = person.label
            print(f"{frame.seconds:.1f} s, person {person.number}: {person.label}")
