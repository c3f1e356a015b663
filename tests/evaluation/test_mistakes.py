"""The wrong predictions, and the training faces nearest to them."""

import io

import PIL.Image
import pytest
from sklearn.neighbors import NearestNeighbors

from ferembed.datasets import Dataset
from ferembed.evaluation.evaluation import evaluate


def test_mistakes_are_the_wrong_predictions_the_most_confident_first(evaluation):
    wrong = evaluation.predicted != evaluation.targets
    assert len(evaluation.mistakes) == wrong.sum() > 2
    most_confident = sorted(evaluation.probabilities[wrong].max(axis=1), reverse=True)
    assert [mistake.confidence for mistake in evaluation.mistakes] == most_confident
    place = evaluation.names.index(evaluation.mistakes[0].name)
    assert evaluation.mistakes[0].target == evaluation.labels[evaluation.targets[place]]
    assert evaluation.mistakes[0].predicted == evaluation.labels[evaluation.predicted[place]]


def test_beside_a_mistake_stand_the_training_faces_nearest_to_it(
    evaluation, pipeline, unseen, training
):
    vectors = pipeline.embedder.transform(training.images)
    nearest = NearestNeighbors(n_neighbors=5).fit(vectors)
    for mistake in evaluation.mistakes:
        asked = pipeline.embedder.transform([unseen.images[evaluation.names.index(mistake.name)]])
        distances, places = nearest.kneighbors(asked)
        found = [(one.name, one.label) for one in mistake.neighbours]
        assert found == [(training.images.name(i), training.labels[i]) for i in places[0]]
        assert [one.distance for one in mistake.neighbours] == pytest.approx(
            distances[0].tolist(), abs=1e-4
        )


def test_fewer_training_faces_than_neighbours_are_all_shown(pipeline, unseen, training):
    found = evaluate(pipeline, unseen, training.select([0, 1]), mistakes=1, neighbours=5)
    assert len(found.mistakes) == 1
    assert len(found.mistakes[0].neighbours) == 2


def test_pictures_are_in_the_evaluation_itself(evaluation):
    import base64

    for mistake in evaluation.mistakes:
        for picture in (mistake.picture, *(one.picture for one in mistake.neighbours)):
            kind, content = picture.split(",")
            assert kind == "data:image/jpeg;base64"
            assert PIL.Image.open(io.BytesIO(base64.b64decode(content))).size == (48, 48)


class Vanishing:
    """A picture that goes away after it was read a few times."""

    def __init__(self, path, reads):
        self.path, self.left = path, reads

    def read_bytes(self):
        self.left -= 1
        if self.left < 0:
            self.path.unlink(missing_ok=True)
        return self.path.read_bytes()


def test_a_vanished_picture_is_missing_beside_its_mistake(pipeline, faces, tmp_path):
    file = tmp_path / "face.png"
    PIL.Image.fromarray(faces[20]).save(file)
    answer = pipeline.predict([file])[0]
    other = next(label for label in pipeline.classes_ if label != answer)
    data = Dataset.from_images([Vanishing(file, 1)], [str(other)])
    found = evaluate(pipeline, data)
    assert found.mistakes[0].picture is None
    assert found.report().accuracy == 0
    assert found.costs.predict_ms > 0
