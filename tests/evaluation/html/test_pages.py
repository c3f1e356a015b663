import base64
import html.parser
import io
import json
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from string import Formatter

import numpy as np
import PIL.Image
import pytest

from ferembed.errors import DataError, UnknownName
from ferembed.evaluation.evaluation import Costs, Evaluation, Mistake, Neighbour
from ferembed.evaluation.html import pages
from ferembed.evaluation.html.translations import PHRASES
from ferembed.labels import EXPRESSIONS
from tests.conftest import run_python


def picture(level: int) -> str:
    file = io.BytesIO()
    PIL.Image.new("L", (48, 48), level).save(file, "JPEG")
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def made(labels=EXPRESSIONS, count=200, seed=0, **changes) -> Evaluation:
    """An evaluation of answers drawn at random, half of them right."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, len(labels), count)
    shares = rng.dirichlet(np.ones(len(labels)), count)
    shares[np.arange(count), truth] += rng.integers(0, 2, count)
    shares /= shares.sum(axis=1, keepdims=True)
    near = tuple(Neighbour(f"train/{i}.png", "sad", i / 2, picture(60 * i)) for i in range(3))
    mistakes = (
        Mistake("test/one.png", "happy", "sad", 0.97, picture(200), near),
        Mistake("test/two.png", "sad", "fear", 0.91, None, (replace(near[0], picture=None),)),
    )
    evaluation = Evaluation(
        "mine",
        "validation",
        tuple(labels),
        tuple(f"test/{i}.png" for i in range(count)),
        tuple(f"{i:064x}" for i in range(count)),
        truth,
        shares.argmax(axis=1),
        shares,
        copies=np.arange(count) % 10 == 0,
        mistakes=mistakes,
        costs=Costs(predict_ms=4.25, bytes=2_191_704),
        data=("open: path faces",),
    )
    return replace(evaluation, **changes)


class Page(html.parser.HTMLParser):
    """What a page is made of: its elements, what they point at, its text; all must be closed."""

    VOID = frozenset({"meta", "img", "br"})

    def __init__(self, path):
        super().__init__()
        self.source = path.read_text("utf-8")
        self.elements, self.links, self.words, self.open = [], [], [], []
        self.feed(self.source)
        assert self.open == []
        self.text = " ".join(self.words)
        self.drawings = [
            ElementTree.fromstring(one)
            for one in re.findall(r"<svg.*?</svg>", self.source, re.DOTALL)
        ]

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.links += [value for name, value in attributes if name in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("style", "script"):
            self.words.append(data)


@pytest.mark.parametrize("language", ["en", "es"])
def test_a_report_is_one_page_that_needs_nothing_else(tmp_path, language):
    path = pages.write_report(tmp_path, made(), language)
    assert path == tmp_path / "report.html"
    page = Page(path)
    assert page.elements[0] == ("html", {"lang": language})
    assert page.links
    assert all(link.startswith("data:image/jpeg;base64,") for link in page.links)
    assert not {"link", "script", "iframe"} & {tag for tag, _ in page.elements}
    assert "url(" not in page.source
    assert page.source.count("://") == page.source.count('xmlns="http://www.w3.org/2000/svg"')
    assert len(page.drawings) == 6
    assert all(drawing.get("aria-label") for drawing in page.drawings)


def test_a_report_shows_the_scores_with_and_without_copies(tmp_path):
    evaluation = made()
    page = Page(pages.write_report(tmp_path, evaluation))
    report, alone = evaluation.report(), evaluation.report(without_copies=True)
    assert "20 of 200 faces have an exact or near copy in the training data." in page.text
    for one in (report, alone):
        assert f"{one.accuracy:.2%}" in page.text
        assert f"{one.weighted.f1:.3f}" in page.text
    assert f"{report.macro.precision:.3f}" in page.text
    assert "4.25\u00a0ms" in page.text
    assert "2.19\u00a0MB" in page.text
    assert "not measured: the vectors were in the store" in page.text


@pytest.mark.parametrize(
    ("copies", "said"),
    [
        (None, "Nobody looked for copies of these faces"),
        (np.zeros(200, np.bool_), "None of the 200 faces has a copy"),
        (np.ones(200, np.bool_), "All 200 faces have an exact or near copy"),
    ],
)
def test_a_report_says_what_is_known_of_copies(tmp_path, copies, said):
    page = Page(pages.write_report(tmp_path, made(copies=copies)))
    assert said in page.text
    assert "without copies" not in page.text


def test_the_drawn_confusion_is_the_counted_one(tmp_path):
    evaluation = made()
    report = evaluation.report()
    counts, shares = Page(pages.write_report(tmp_path, evaluation)).drawings[:2]
    space = "{http://www.w3.org/2000/svg}"
    for drawing, rows, scale in (
        (counts, report.confusion, 1),
        (shares, report.normalised, 100),
    ):
        texts = [t.text for t in drawing.iter(f"{space}text") if t.get("pointer-events")]
        assert texts == [f"{scale * value:.0f}" for row in rows for value in row]
    tip = next(rect.find(f"{space}title").text for rect in counts.iter(f"{space}rect"))
    count = report.confusion[0][0]
    assert tip.startswith(f"true: Angry; answer: Angry: {count} faces, ")


def test_spanish_pages_are_spanish(tmp_path):
    page = Page(pages.write_report(tmp_path, made(count=2000, data=()), "es"))
    for words in ("Informe de mine", "Los peores errores", "Alegría", "2\u202f000 caras"):
        assert words in page.text
    for word in ("faces", "Happy", "answer", "accuracy", "The "):
        assert word not in page.text
    assert re.search(r"\d\d\.\d\d\u00a0%", page.text)
    markdown = (tmp_path / "report.md").read_text("utf-8")
    assert "## Los resultados" in markdown
    assert "| Alegría |" in markdown


def test_both_languages_say_the_same_things():
    english, spanish = PHRASES["en"], PHRASES["es"]
    assert english.keys() == spanish.keys()
    for key in english:
        fields = [
            sorted(name for _, name, _, _ in Formatter().parse(text) if name)
            for text in (english[key], spanish[key])
        ]
        assert fields[0] == fields[1], key


def test_every_phrase_is_used():
    from pathlib import Path

    source = Path(pages.__file__).read_text().replace("'", '"')
    assert [key for key in PHRASES["en"] if f'"{key}"' not in source] == []


def test_an_unknown_language_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(UnknownName, match="No language is called 'fr'"):
        pages.write_report(tmp_path / "out", made(), "fr")
    assert not (tmp_path / "out").exists()


def test_mistakes_stand_beside_their_neighbours_and_lost_pictures_are_counted(tmp_path):
    page = Page(pages.write_report(tmp_path, made()))
    assert "2 of these pictures cannot be read any more." in page.text
    assert len(page.links) == 4
    assert page.text.count("cannot be read") == 3
    for words in ("true: Happy", "answered Sad, 97%", "test/one.png", "nearest in training"):
        assert words in page.text
    none = Page(pages.write_report(tmp_path, made(mistakes=())))
    assert "There is no wrong answer." in none.text


def test_the_psychologists_view_has_every_pair_and_the_correlation(tmp_path):
    evaluation = made()
    view = evaluation.confusability
    page = Page(pages.write_report(tmp_path, evaluation))
    assert f"a rank correlation of {view.correlation.rho:.2f} (Spearman; p = " in page.text
    assert "Over the 15 pairs" in page.text
    assert f"over 21 pairs, it is {view.with_neutral.rho:.2f}" in page.text
    assert "1 + 2 + 5 + 26" in page.text
    assert "Neutral has no unit" in page.text
    for pair in view.unexplained:
        assert f"measured {pair.confusion:.1%} ({pair.count} faces)" in page.text
    without = Page(pages.write_report(tmp_path, made(["angry", "happy", "bored"])))
    assert "there is no correlation" in without.text
    assert "Left out, for want of faces here or of known units: bored" in without.text


def test_failures_are_counted_and_the_first_are_named(tmp_path):
    reasons = tuple(f"{i}.png is empty (0 bytes)." for i in range(12))
    page = Page(pages.write_report(tmp_path, made(failures=reasons)))
    assert "12 faces could not be read and are left out:" in page.text
    assert "9.png is empty" in page.text
    assert "10.png" not in page.text
    assert "and 2 more" in page.text


@pytest.mark.parametrize(
    ("labels", "count"),
    [
        (["happy"], 1),
        (["happy"], 5),
        (EXPRESSIONS, 1),
        (["a", "b"], 3),
        (list("abcdefghijkl"), 60),
        (["a label that is rather long", "b"], 9),
    ],
)
def test_few_faces_one_class_or_many_are_drawn_too(tmp_path, labels, count):
    page = Page(pages.write_report(tmp_path, made(labels, count)))
    for drawing in page.drawings:
        left, top, width, height = map(float, drawing.get("viewBox").split())
        assert (left, top) == (0, 0)
        for shape in drawing.iter():
            for key, most in (("x", width), ("y", height), ("cx", width), ("cy", height)):
                assert 0 <= float(shape.get(key, 0)) <= most, (shape.tag, shape.attrib)
    assert "nan" not in page.source


def test_names_are_shown_as_they_are_and_never_taken_for_markup(tmp_path):
    nasty = '<script>alert("1")</script>|`*.png'
    evaluation = made(model=nasty, failures=(nasty,), data=(nasty,))
    evaluation = replace(
        evaluation, mistakes=(replace(evaluation.mistakes[0], name=nasty, truth="<b>"),)
    )
    page = Page(pages.write_report(tmp_path, evaluation))
    assert "script" not in {tag for tag, _ in page.elements}
    assert nasty in page.text
    markdown = (tmp_path / "report.md").read_text()
    assert "<script>" not in markdown.replace("\\<", "")
    assert "\\|\\`\\*.png" in markdown


def test_a_file_name_that_is_no_utf8_does_not_stop_the_page(tmp_path):
    evaluation = made()
    odd = os.fsdecode(b"caf\xe9.png")
    evaluation = replace(evaluation, mistakes=(replace(evaluation.mistakes[0], name=odd),))
    assert "caf\\udce9.png" in Page(pages.write_report(tmp_path, evaluation)).text
    assert Evaluation.read(tmp_path).mistakes[0].name == odd


def test_what_was_written_can_be_read_and_written_in_the_other_language(tmp_path):
    pages.write_report(tmp_path / "en", made())
    again = pages.write_report(tmp_path / "es", Evaluation.read(tmp_path / "en"), "es")
    assert "Informe de mine" in Page(again).text
    first, second = (tmp_path / name / "report.json" for name in ("en", "es"))
    assert first.read_text() == second.read_text()


def test_a_report_is_written_over_the_one_before(tmp_path):
    pages.write_report(tmp_path, made(model="first"))
    page = Page(pages.write_report(tmp_path, made(model="second")))
    assert "Report on second" in page.text
    assert sorted(os.listdir(tmp_path)) == ["report.html", "report.json", "report.md"]


def test_a_folder_that_cannot_be_written_to_is_refused_and_said_why(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="Nothing can be written to .*file: .*Choose another"):
        pages.open_folder(tmp_path / "file")
    with pytest.raises(DataError, match="Not a directory"):
        pages.write_report(tmp_path / "file" / "below", made())


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write all")
def test_a_folder_without_permission_is_refused(tmp_path):
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(DataError, match="Permission denied"):
        pages.open_folder(tmp_path / "closed")


@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files as POSIX does")
def test_a_full_disk_leaves_the_report_that_was_there(tmp_path):
    pages.write_report(tmp_path, made(model="first"))
    before = {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)}
    code = (
        "import resource, signal, sys\n"
        "from ferembed import pages\n"
        "from tests.evaluation.html.test_pages import made\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))\n"
        "try: pages.write_report(sys.argv[1], made(model='second'))\n"
        "except OSError as error: print(error.strerror)\n"
    )
    assert run_python(code, str(tmp_path)).stdout == "File too large\n"
    assert {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)} == before


# --- a grid ---------------------------------------------------------------------------------------

COLUMNS = [
    ("name", "pipeline"),
    ("accuracy", "accuracy"),
    ("reference", "reported"),
    ("fit_seconds", "fit, s"),
    ("bytes", "bytes"),
]
CELLS = [
    {"name": "svm", "group": "svm", "accuracy": 0.6543, "reference": 0.651, "fit_seconds": 120.0,
     "predict_ms": 3.0, "bytes": 40_000_000, "error": None},
    {"name": "knn", "group": "knn", "accuracy": 0.6982, "fit_seconds": 0.5, "predict_ms": 9.0,
     "bytes": 45_760_000},
    {"name": "softmax", "group": "softmax", "accuracy": 0.6893, "fit_seconds": 0.25,
     "predict_ms": 0.125, "bytes": 10_000},
    {"name": "network", "accuracy": 0.6865, "fit_seconds": None, "predict_ms": 0.25,
     "bytes": 9_000},
    {"name": "forest", "error": "MemoryError: 6 GiB"},
]  # fmt: skip


def rows(page_source):
    found = []
    for row in re.findall(r"<tr.*?</tr>", page_source.split("<svg")[0], re.DOTALL):
        found.append(re.findall(r"<t[dh][^>]*>(?:<button>)?(.*?)(?:</button>)?</t[dh]>", row))
    return found


def test_a_grid_is_a_table_whose_cells_can_be_sorted(tmp_path):
    path = pages.write_grid(tmp_path, "Heads", CELLS, COLUMNS, chosen="knn", notes=["A note."])
    assert path == tmp_path / "grid.html"
    page = Page(path)
    assert rows(page.source) == [
        ["pipeline", "accuracy", "reported", "fit, s", "bytes"],
        ["svm", "65.43%", "65.10%", "120", "40,000,000"],
        ["knn (chosen)", "69.82%", "–", "0.5", "45,760,000"],
        ["softmax", "68.93%", "–", "0.25", "10,000"],
        ["network", "68.65%", "–", "–", "9,000"],
        ["forest", "failed: MemoryError: 6 GiB", "–", "–", "–"],
    ]
    assert "A note." in page.text
    values = [fields["data-v"] for tag, fields in page.elements if tag == "td"]
    assert values[5:10] == ["knn", "0.6982", "", "0.5", "45760000"]
    assert [fields for tag, fields in page.elements if tag == "script"] == [{}]
    markdown = (tmp_path / "grid.md").read_text()
    assert "| softmax | 68.93% | – | 0.25 | 10,000 |" in markdown
    assert "click" not in markdown


def test_a_grid_ends_in_the_report_on_the_one_that_was_chosen(tmp_path):
    page = Page(
        pages.write_grid(tmp_path, "Heads", CELLS, COLUMNS, evaluation=made(), language="es")
    )
    assert "Informe de mine: los resultados" in page.text
    assert "Los peores errores" in page.text
    assert len(page.drawings) == 3 + 3 + 6  # plots, the colours of their legend, the report's
    assert sorted(os.listdir(tmp_path)) == ["grid.html", "grid.md", "report.json"]


def test_the_trade_off_joins_what_none_betters(tmp_path):
    drawn = pages.write_grid(tmp_path, "Heads", CELLS, COLUMNS).read_text("utf-8")
    plots = [
        ElementTree.fromstring(one) for one in re.findall(r"<svg role.*?</svg>", drawn, re.DOTALL)
    ]
    space = "{http://www.w3.org/2000/svg}"
    names = [
        {t.text for t in plot.iter(f"{space}text") if "halo" in t.get("class")} for plot in plots
    ]
    assert names[0] == {"softmax", "knn"}  # fast, and better but slower
    assert names[1] == {"softmax", "knn"}
    assert names[2] == {"network", "softmax", "knn"}
    tips = [circle.find(f"{space}title").text for circle in plots[0].iter(f"{space}circle")]
    assert tips[0] == "svm: 65.43%, 3 milliseconds to answer for one face"
    assert (
        "Not drawn, for want of this figure: 1." in drawn
    )  # the network's last layer is not fitted


def test_a_grid_without_a_score_has_no_plot(tmp_path):
    page = Page(pages.write_grid(tmp_path, "Nothing", CELLS[-1:], COLUMNS))
    assert page.drawings == []
    assert page.text.count("No cell has this figure.") == 3
    assert "failed: MemoryError: 6 GiB" in page.text
    odd = [{"name": "a", "accuracy": float("nan"), "predict_ms": 1.0}, {"accuracy": 0.5}]
    assert "No cell has this figure." in pages.write_grid(tmp_path, "Odd", odd, COLUMNS).read_text()


def test_one_cell_can_be_drawn(tmp_path):
    page = pages.write_grid(tmp_path, "One", CELLS[:1], COLUMNS, language="es")
    drawn = page.read_text("utf-8")
    assert "milisegundos para responder por una cara" in drawn
    assert drawn.count("<circle") == 4


# --- in a browser ---------------------------------------------------------------------------------

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


def in_browser(page, script, tmp_path):
    """What a script answers that runs in the page."""
    answer = "<pre id=answer></pre><script>addEventListener('load', () => {document.getElementById"
    answer += f"('answer').textContent = JSON.stringify((() => {{{script}}})())}})</script>"
    copy = tmp_path / "asked.html"
    copy.write_text(page.read_text("utf-8").replace("</body>", f"{answer}</body>"), "utf-8")
    result = subprocess.run(
        [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom",
         f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1280,900", copy.as_uri()],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    return json.loads(re.search("<pre id=.answer.>(.*?)</pre>", result.stdout, re.DOTALL)[1])


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no browser is here")
def test_a_click_on_a_heading_sorts_with_what_is_missing_last(tmp_path):
    page = pages.write_grid(tmp_path, "Heads", CELLS, COLUMNS)
    script = """
      const table = document.querySelector("table.sortable");
      const names = () => [...table.tBodies[0].rows].map(row => row.cells[0].textContent);
      return [0, 1, 1, 3].map(column => {
        table.tHead.rows[0].cells[column].querySelector("button").click();
        return names();
      });"""
    assert in_browser(page, script, tmp_path) == [
        ["forest", "knn", "network", "softmax", "svm"],
        ["knn", "softmax", "network", "svm", "forest"],
        ["svm", "network", "softmax", "knn", "forest"],
        ["svm", "knn", "softmax", "network", "forest"],
    ]


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no browser is here")
@pytest.mark.parametrize("language", ["en", "es"])
def test_nothing_is_wider_than_a_telephone_but_tables_that_scroll(tmp_path, language):
    page = pages.write_grid(tmp_path, "Heads", CELLS, COLUMNS, evaluation=made(), language=language)
    script = """
      document.documentElement.style.width = "390px";
      return [...document.querySelectorAll("main *")]
        .filter(one => !one.closest(".wide *") && one.getBoundingClientRect().right > 391)
        .map(one => one.tagName + " " + one.textContent.slice(0, 40));"""
    assert in_browser(page, script, tmp_path) == []
