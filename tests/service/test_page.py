"""The page in a real browser, whose camera is fed from a film of a real face."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import cv2
import httpx
import numpy as np
import PIL.Image
import pytest

from ferembed.images import load_image
from ferembed.labels import display_name
from ferembed.media.writers import face_columns
from tests.helpers import clips
from tests.helpers.service import open_stream
from tests.service.conftest import Server, running

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="install chromium")

SIZE = 640, 480
PATIENCE = 60_000  # milliseconds
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
FAKE_CAMERA = "--use-fake-device-for-media-stream"


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    """What the camera sees: it does not move, so that boxes can be compared."""
    return clips.scene(150, size=SIZE, head=clips.person(300))


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory, picture: np.ndarray) -> Path:
    path = tmp_path_factory.mktemp("film") / "face.mjpeg"
    coded = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1]
    path.write_bytes(30 * coded.tobytes())
    return path


@pytest.fixture(scope="module")
def playwright() -> Iterator[sync_api.Playwright]:
    with sync_api.sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="module")
def browser(playwright, film) -> Iterator[sync_api.Browser]:
    flags = [FAKE_CAMERA, "--use-fake-ui-for-media-stream"]
    flags.append(f"--use-file-for-fake-video-capture={film}")
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, *flags])
    yield browser
    browser.close()


def opened(browser: sync_api.Browser, server: Server, locale: str = "en-US", **options):
    """The page, in a window of its own; all that goes wrong in it is an error of the test."""
    context = browser.new_context(locale=locale, accept_downloads=True, **options)
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.errors, page.asked = [], set()
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.on("request", lambda request: page.asked.add(request.url))
    page.on("websocket", lambda socket: page.asked.add(socket.url))
    page.goto(server.url)
    sync_api.expect(page.locator("#bars li")).to_have_count(7, timeout=PATIENCE)
    return page


@pytest.fixture
def page(browser, server) -> Iterator[sync_api.Page]:
    page = opened(browser, server)
    yield page
    page.context.close()
    assert page.errors == []
    origins = {re.sub(r"^ws:", "http:", url).split("/", 3)[2] for url in page.asked if "//" in url}
    assert origins == {f"127.0.0.1:{server.port}"}


def status(page: sync_api.Page, text: str | re.Pattern[str], place: str = "#camera-status") -> None:
    sync_api.expect(page.locator(place)).to_have_text(text, timeout=PATIENCE)


def pixels(page: sync_api.Page, canvas: str) -> np.ndarray:
    """What is drawn on a canvas, as (H, W, 4)."""
    url = page.locator(canvas).evaluate("canvas => canvas.toDataURL()")
    coded = base64.b64decode(url.partition(",")[2])
    return np.asarray(PIL.Image.open(io.BytesIO(coded)).convert("RGBA"))


def test_the_camera_shows_what_the_library_reads(page, pipeline, picture):
    page.click("#start")
    status(page, "The camera is on. One face is seen.")
    page.wait_for_function(
        "document.querySelector('#rate').textContent.includes('frames a second')"
    )
    (expected,) = pipeline.analyze(picture)
    best = page.locator("#bars li.best")
    assert best.locator(".name").inner_text() == display_name(expected.label)
    share = float(best.locator(".share").inner_text().strip("%")) / 100
    assert share == pytest.approx(expected.probabilities[expected.label], abs=0.1)
    drawn = pixels(page, "#overlay")
    assert drawn.shape[:2] == (SIZE[1], SIZE[0])
    x1, y1, x2, y2 = expected.box
    middle = (y1 + y2) // 2
    lines = np.flatnonzero(drawn[middle, :, 3])  # of the box, where nothing else is drawn
    left, right = lines[lines < (x1 + x2) / 2], lines[lines > (x1 + x2) / 2]
    # MTCNN's box of a part of this frame is 13 % wider than that of the whole of it.
    assert left.mean() == pytest.approx(x1, abs=(x2 - x1) / 5)
    assert right.mean() == pytest.approx(x2, abs=(x2 - x1) / 5)
    assert drawn[middle, (x1 + x2) // 2, 3] == 0


@pytest.mark.slow
def test_the_timeline_moves(page):
    def filled() -> int:
        return int((pixels(page, "#timeline")[..., 3] > 0).any(axis=0).sum())

    assert filled() == 0
    page.click("#start")
    status(page, "The camera is on. One face is seen.")
    page.wait_for_timeout(1500)
    before = filled()
    page.wait_for_timeout(2500)
    assert filled() > before > 0
    page.click("#stop")
    status(page, "The camera is off.")
    assert pixels(page, "#overlay")[..., 3].max() == 0
    assert page.locator("#bars li.best").count() == 0


def test_spanish_comes_with_the_browser_and_by_the_switch(browser, server, page):
    spanish = opened(browser, server, "es-MX")
    status(spanish, "La cámara está apagada.")
    assert spanish.locator("html").get_attribute("lang") == "es"
    assert spanish.locator("#bars .name").first.inner_text() == "Enfado"
    assert "No dice qué siente alguien" in spanish.inner_text("main")
    spanish.context.close()
    assert page.locator("html").get_attribute("lang") == "en"
    page.select_option("#language", "es")
    status(page, "La cámara está apagada.")
    sync_api.expect(page.locator("#bars .name").first).to_have_text("Enfado")
    assert page.locator("#start").inner_text() == "Encender la cámara"


def test_every_phrase_is_there_in_both_languages(page):
    keys = page.evaluate(
        """async () => {
            const { PHRASES } = await import("/page/phrases.js");
            return Object.values(PHRASES).map((words) => Object.entries(words).map(
                ([key, text]) => key + [...text.matchAll(/{\\w+}/g)].map(String).sort()));
        }"""
    )
    assert sorted(keys[0]) == sorted(keys[1])
    assert not page.locator("[data-t]").evaluate_all("all => all.some(one => !one.textContent)")


def test_photos_are_drawn_listed_and_given_back(page, pipeline, portrait, tmp_path):
    bad = tmp_path / "=bad, file.jpg"
    bad.write_bytes(b"hello")
    page.set_input_files("#files", [portrait, bad])
    status(
        page,
        "Photos read: 1. Faces found: 1. Photos that could not be read: 1. The table says why.",
        "#photo-status",
    )
    (expected,) = pipeline.analyze(portrait)
    first, second = page.locator("#rows tr").all()
    cells = first.locator("td").all_inner_texts()
    assert cells[:3] == ["grace_hopper.jpg", "1", display_name(expected.label)]
    assert cells[4] == ", ".join(map(str, expected.box))
    assert "is not a picture in a known format" in second.inner_text()

    def download(button) -> bytes:
        with page.expect_download() as started:
            button.click()
        return Path(started.value.path()).read_bytes()

    rows = list(csv.DictReader(io.StringIO(download(page.locator("#csv")).decode())))
    assert [row["photo"] for row in rows] == ["grace_hopper.jpg", "'=bad, file.jpg"]
    assert [*rows[0]] == ["photo", "face", *face_columns(pipeline.labels), "error"]
    assert [int(rows[0][name]) for name in ("x1", "y1", "x2", "y2")] == list(expected.box)
    for label, probability in expected.probabilities.items():
        assert float(rows[0][label]) == pytest.approx(probability, abs=2e-6)
    assert rows[1]["error"].startswith("'=bad, file.jpg is not a picture")
    entries = json.loads(download(page.locator("#json")))
    assert entries[0]["faces"][0]["label"] == expected.label
    drawn = PIL.Image.open(io.BytesIO(download(page.locator("figure button"))))
    original = load_image(portrait)
    assert drawn.size == (original.shape[1], original.shape[0])
    x1, y1, x2, _ = expected.box
    assert not np.array_equal(np.asarray(drawn.convert("RGB"))[y1, (x1 + x2) // 2], original[y1, 0])
    page.click("#clear")
    assert not page.locator("#results").is_visible()


def test_photos_can_be_dropped_and_pasted(page, portrait):
    hand_over = """async (target, [kind, bytes]) => {
        const files = new DataTransfer();
        files.items.add(new File([new Uint8Array(bytes)], "me.jpg", { type: "image/jpeg" }));
        const data = { bubbles: true, cancelable: true };
        target.dispatchEvent(kind === "drop"
            ? new DragEvent("drop", { ...data, dataTransfer: files })
            : new ClipboardEvent("paste", { ...data, clipboardData: files }));
    }"""
    for count, kind in enumerate(("drop", "paste"), 1):
        page.locator("#drop").evaluate(hand_over, [kind, list(portrait.read_bytes())])
        status(page, f"Photos read: {count}. Faces found: {count}.", "#photo-status")


def test_labels_are_numbered_as_in_the_table_and_large_enough(page):
    drawn = page.evaluate(
        """async () => {
            const { drawFaces } = await import("/page/drawing.js");
            const canvas = document.createElement("canvas");
            Object.assign(canvas, { width: 1280, height: 480 });
            const context = canvas.getContext("2d"), texts = [];
            context.fillText = (text) => texts.push([text, parseInt(context.font.split(" ")[1])]);
            const face = { box: [9, 9, 99, 99], label: "happy", probabilities: { happy: 0.9 } };
            drawFaces(context, [face], 1, true);
            drawFaces(context, [face, face], 1, true);
            canvas.style.width = "320px";
            document.body.append(canvas);
            drawFaces(context, [face], 1);
            return texts;
        }"""
    )
    assert drawn == [
        ["Happy 90%", 20],
        ["1: Happy 90%", 20],
        ["2: Happy 90%", 20],
        ["Happy 90%", 48],  # 12 where it is shown a fourth as large
    ]


def test_a_spanish_page_writes_numbers_and_errors_as_spanish_does(browser, server, tmp_path):
    page = opened(browser, server, "es-ES")
    (tmp_path / "bad.jpg").write_bytes(b"hello")
    moved = tmp_path / "moved.jpg"
    moved.write_bytes(b"hello")
    page.route("**/v1/analyze*", lambda route: (moved.unlink(True), route.continue_()))
    page.set_input_files("#files", [tmp_path / "bad.jpg", moved])
    status(page, re.compile("no se han podido leer: 2."), "#photo-status")
    rows = page.locator("#rows tr")
    told = "No se ha podido leer. El servidor dice, en inglés: bad.jpg is not a picture"
    sync_api.expect(rows.nth(0)).to_contain_text(told)
    sync_api.expect(rows.nth(1)).to_contain_text("El navegador no puede leer este archivo.")
    page.select_option("#language", "en")
    sync_api.expect(rows.nth(1)).to_contain_text("The browser cannot read this file.")
    decimal = "async () => (await import('/page/text.js')).decimal(9.25, 1)"
    assert page.evaluate(decimal) == "9.3"
    page.select_option("#language", "es")
    assert page.evaluate(decimal) == "9,3"
    page.context.close()


def test_a_server_that_is_back_is_no_longer_reported_as_gone(page):
    refused = iter([True])
    page.route(
        "**/v1/labels*",
        lambda route: route.abort() if next(refused, False) else route.continue_(),
    )
    page.select_option("#language", "es")
    status(page, "El servidor no responde. Se reintenta…", "#server-status")
    status(page, "", "#server-status")
    sync_api.expect(page.locator("#bars .name").first).to_have_text("Enfado")


def test_a_picture_without_a_face_is_reported(page, tmp_path):
    PIL.Image.new("RGB", (300, 200), "teal").save(tmp_path / "sea.png")
    page.set_input_files("#files", tmp_path / "sea.png")
    status(page, "Photos read: 1. Faces found: 0.", "#photo-status")
    assert page.locator("#rows tr").inner_text().split("\t")[2] == "no face found"


def test_model_and_detector_can_be_chosen(page, portrait):
    options = page.locator("#detector option").all_inner_texts()
    assert options[0] == "the model’s own (mtcnn)"
    assert "none: each picture is a face" in options
    page.select_option("#detector", "none")
    page.set_input_files("#files", portrait)
    status(page, "Photos read: 1. Faces found: 1.", "#photo-status")
    assert page.locator("#rows td").nth(4).inner_text() == "0, 0, 512, 600"
    page.click("#start")
    status(page, "The camera is on. One face is seen.")
    assert np.flatnonzero(pixels(page, "#overlay")[240, :, 3]).max() == SIZE[0] - 1


@pytest.mark.slow
def test_a_keyboard_reaches_everything_and_a_reader_hears_it(page):
    reached = set()
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id"))
    assert {"language", "model", "detector", "start", "files"} <= reached
    page.focus("#start")
    page.keyboard.press("Enter")
    status(page, "The camera is on. One face is seen.")
    spoken = page.locator("#spoken")
    sync_api.expect(spoken).to_have_text(re.compile(r"^\w+, \d+%$"), timeout=PATIENCE)
    assert spoken.get_attribute("aria-live") == "polite"
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, canvas")].filter((one) =>
            !one.labels?.length && !one.textContent.trim() && !one.getAttribute("aria-label"))
            .map((one) => one.outerHTML)"""
    )
    assert unnamed == []


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_the_window_and_can_be_read(browser, server, width, scheme):
    page = opened(browser, server, viewport={"width": width, "height": 800}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    low = page.evaluate(
        """() => {
            const light = (colour) => {
                const parts = colour.match(/[\\d.]+/g).slice(0, 3).map((part) => {
                    const share = part / 255;
                    return share <= 0.03928 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
                });
                return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
            };
            const ground = (one) => {
                for (; one; one = one.parentElement) {
                    const colour = getComputedStyle(one).backgroundColor;
                    if (!/, 0\\)$/.test(colour)) return colour;
                }
            };
            return [...document.querySelectorAll("h1, h2, h3, p, label, button, li span, li")]
                .filter((one) => one.textContent.trim() && !one.disabled)
                .map((one) => {
                    const pair = [light(getComputedStyle(one).color), light(ground(one))].sort();
                    return [(Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05), one.outerHTML];
                }).filter(([contrast]) => contrast < 4.5);
        }"""
    )
    assert low == []
    page.context.close()


@pytest.mark.slow
def test_a_refused_and_a_missing_camera_are_reported(playwright, server):
    for flags, told in (
        (
            [FAKE_CAMERA, "--deny-permission-prompts"],
            "The browser was not allowed to use the camera",
        ),
        (["--use-fake-ui-for-media-stream"], "No camera was found."),
    ):
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, *flags])
        page = opened(browser, server)
        page.click("#start")
        status(page, re.compile(f"^{told}"))
        assert page.locator("#start").is_enabled()
        assert page.errors == []
        browser.close()


@pytest.mark.slow
def test_a_stopped_server_is_reported_and_found_again(browser, tmp_path, portrait):
    with running(tmp_path / "first") as server:
        page = opened(browser, server)
        page.click("#start")
        status(page, "The camera is on. One face is seen.")
        server.stop()
        status(page, "The server does not answer. Trying again…")
        page.set_input_files("#files", portrait)
        status(page, "The server does not answer. Trying again…", "#photo-status")
        page.click("#stop")
        page.click("#start")
        status(page, "The server does not answer. Trying again…")
    with running(tmp_path / "second", port=server.port) as server:
        status(page, "The camera is on. One face is seen.")
        assert "ferembed_streams 1.0" in httpx.get(f"{server.url}/metrics").text
        status(page, "Photos read: 1. Faces found: 1.", "#photo-status")
    assert page.errors == []
    page.context.close()


def test_a_photo_that_cannot_be_sent_does_not_stop_the_others(page, portrait, tmp_path):
    first, moved, last = (tmp_path / name for name in ("first.jpg", "moved.jpg", "last.jpg"))
    for path in (first, moved, last):
        path.write_bytes(portrait.read_bytes())

    def answer(route):
        if moved.exists():
            moved.unlink()
            route.fulfill(status=413, content_type="text/html", body="<h1>Too large</h1>")
        else:
            route.continue_()

    page.route("**/v1/analyze*", answer)
    page.set_input_files("#files", [first, moved, last])
    status(page, re.compile("Photos read: 1. .*could not be read: 2."), "#photo-status")
    rows = page.locator("#rows tr").all_inner_texts()
    assert "refused this file with status 413" in rows[0]
    assert "The browser cannot read this file" in rows[1]


@pytest.mark.slow
def test_a_proxy_without_its_server_is_tried_again(page, portrait):
    answers = iter([502, 504])

    def answer(route):
        code = next(answers, None)
        if code is None:
            route.continue_()
        else:
            route.fulfill(status=code, content_type="text/html", body="<h1>Bad gateway</h1>")

    page.route("**/v1/analyze*", answer)
    page.set_input_files("#files", portrait)
    status(page, "The server does not answer. Trying again…", "#photo-status")
    status(page, "Photos read: 1. Faces found: 1.", "#photo-status")


@pytest.mark.slow
def test_a_key_is_requested_and_a_wrong_one_is_reported(browser, tmp_path, portrait):
    (tmp_path / "keys").write_text("the-key-of-this-test\n")
    with running(
        tmp_path / "log", "--api-key-file", str(tmp_path / "keys"), "--queue", "1"
    ) as server:
        context = browser.new_context()
        page = context.new_page()
        page.goto(server.url)
        status(page, "This server needs a key. Ask its administrator for one.", "#key-message")
        for key in ("a-wrong-key-for-this", "a-wrong-key-with-€", "the-key-of-this-test"):
            page.fill("#key", key)
            page.keyboard.press("Enter")
            if key.startswith("a-wrong"):
                told = "This key is wrong. Type it again, or ask the administrator of the server."
                status(page, told, "#key-message")
        sync_api.expect(page.locator("#bars li")).to_have_count(7, timeout=PATIENCE)
        page.click("#start")
        status(page, "The camera is on. One face is seen.")
        # The only place in the queue is for photos, whatever streams there are.
        page.set_input_files("#files", [portrait] * 3)
        status(page, "Photos read: 3. Faces found: 3.", "#photo-status")
        context.close()


@pytest.mark.slow
def test_a_busy_server_is_reported(browser, server):
    page = opened(browser, server)
    with ExitStack() as stack:
        for _ in range(8):  # as many as it takes on
            stack.enter_context(open_stream(server)).recv(timeout=60)
        page.click("#start")
        status(page, "The server is busy. Trying again in 3 s…")
    status(page, "The camera is on. One face is seen.")
    page.context.close()
