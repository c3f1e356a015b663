import io

import numpy as np
import PIL.Image

from ferembed.images import load_image
from ferembed.labels import display_name
from ferembed.service import responses
from ferembed.service.reading import Result


def test_a_result_is_plain_numbers_and_its_picture_is_drawn(pipeline, jpeg):
    image = load_image(jpeg)
    predictions = tuple(pipeline.analyze(image))
    size = (image.shape[1], image.shape[0])
    result = Result(name="me.jpg", predictions=predictions, size=size, left_out=2, image=image)
    entry = responses.entry(result, "es")
    assert (entry["picture"], entry["width"], entry["height"]) == ("me.jpg", *size)
    assert entry["faces_left_out"] == 2
    (face,) = entry["faces"]
    assert face["box"] == list(predictions[0].box)
    assert face["name"] == display_name(predictions[0].label, "es") != face["label"]
    assert all(round(p, 6) == p for p in face["probabilities"].values())
    with PIL.Image.open(io.BytesIO(responses.drawn(result))) as drawn:
        assert drawn.format == "PNG"
        assert (np.asarray(drawn.convert("RGB"))[: size[1], : size[0]] != image).any()


def test_a_picture_that_cannot_be_read_is_its_error():
    result = Result(name="a.jpg", error="a.jpg is empty (0 bytes).")
    assert responses.entry(result) == {"picture": "a.jpg", "error": "a.jpg is empty (0 bytes)."}


def test_detectors_that_need_nothing_more_are_usable():
    assert {"none", "haar", "mtcnn"} <= set(responses.usable_detectors())
