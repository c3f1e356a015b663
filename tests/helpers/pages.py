"""Pages as tests read them: an evaluation made up, the parts of a page, a browser."""

import base64
import html.parser
import io
import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy as np
import PIL.Image

from ferembed.evaluation.evaluation import Costs, Evaluation
from ferembed.evaluation.mistakes import Mistake, Neighbour
from ferembed.labels import EXPRESSIONS

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


def picture(level: int) -> str:
    file = io.BytesIO()
    PIL.Image.new("L", (48, 48), level).save(file, "JPEG")
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def made(labels=EXPRESSIONS, count=200, seed=0, **changes) -> Evaluation:
    """An evaluation of answers drawn at random, half of them right."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, len(labels), count)
    shares = rng.dirichlet(np.ones(len(labels)), count)
    shares[np.arange(count), targets] += rng.integers(0, 2, count)
    shares /= shares.sum(axis=1, keepdims=True)
    near = tuple(Neighbour(f"train/{i}.png", "sad", i / 2, picture(60 * i)) for i in range(3))
    mistakes = (
        Mistake(
            name="test/one.png",
            target="happy",
            predicted="sad",
            confidence=0.97,
            picture=picture(200),
            neighbours=near,
        ),
        Mistake(
            name="test/two.png",
            target="sad",
            predicted="fear",
            confidence=0.91,
            picture=None,
            neighbours=(replace(near[0], picture=None),),
        ),
    )
    evaluation = Evaluation(
        model="mine",
        split="validation",
        labels=tuple(labels),
        names=tuple(f"test/{i}.png" for i in range(count)),
        digests=tuple(f"{i:064x}" for i in range(count)),
        targets=targets,
        predicted=shares.argmax(axis=1),
        probabilities=shares,
        duplicates=np.arange(count) % 10 == 0,
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
