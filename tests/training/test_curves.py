import numpy as np
import PIL.Image

from ferembed.training.curves import draw_curves


def test_each_curve_is_drawn_in_its_colour(tmp_path):
    rows = [
        {"epoch": n, "accuracy": 0.1 * n, "validation_accuracy": 0.08 * n, "loss": 2 / n}
        | {"validation_loss": 2.5 / n}
        for n in range(1, 6)
    ]
    draw_curves(rows, tmp_path / "curves.png")
    assert [file.name for file in tmp_path.iterdir()] == ["curves.png"]
    with PIL.Image.open(tmp_path / "curves.png") as picture:
        pixels = np.asarray(picture.convert("RGB"))
    middle = pixels.shape[1] // 2
    for half in (pixels[:, :middle], pixels[:, middle:]):
        for colour in ((31, 119, 180), (255, 127, 14)):  # training and validation
            assert (half == colour).all(axis=2).sum() > 200
