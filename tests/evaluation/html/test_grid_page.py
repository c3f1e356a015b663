import os
import re
import xml.etree.ElementTree as ElementTree

import pytest

from ferembed.evaluation.html import Column, write_grid
from tests.helpers.pages import CHROMIUM, Page, in_browser, made

COLUMNS = [
    Column("name", "pipeline"),
    Column("accuracy", "accuracy", "share"),
    Column("reference", "reported", "share"),
    Column("fit_seconds", "fit, s", "number"),
    Column("bytes", "bytes", "count"),
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
    path = write_grid(tmp_path, "Heads", CELLS, COLUMNS, chosen="knn", notes=["A note."])
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
    page = Page(write_grid(tmp_path, "Heads", CELLS, COLUMNS, evaluation=made(), language="es"))
    assert "Informe de mine: resultados" in page.text
    assert "Los errores con más confianza" in page.text
    assert len(page.drawings) == 3 + 3 + 6  # plots, the colours of their legend, the report's
    assert sorted(os.listdir(tmp_path)) == ["grid.html", "grid.md", "report.json"]


def test_the_trade_off_plot_has_the_pareto_front(tmp_path):
    drawn = write_grid(tmp_path, "Heads", CELLS, COLUMNS).read_text("utf-8")
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
    assert tips[0] == "svm: 65.43%; latency of one face, ms: 3"
    assert (
        "Not drawn because this value is missing: 1." in drawn
    )  # the network's last layer is not fitted


def test_a_grid_without_a_score_has_no_plot(tmp_path):
    page = Page(write_grid(tmp_path, "Nothing", CELLS[-1:], COLUMNS))
    assert page.drawings == []
    assert page.text.count("No pipeline has this value.") == 3
    assert "failed: MemoryError: 6 GiB" in page.text
    odd = [{"name": "a", "accuracy": float("nan"), "predict_ms": 1.0}, {"accuracy": 0.5}]
    assert "No pipeline has this value." in write_grid(tmp_path, "Odd", odd, COLUMNS).read_text()


def test_one_cell_can_be_drawn(tmp_path):
    page = write_grid(tmp_path, "One", CELLS[:1], COLUMNS, language="es")
    drawn = page.read_text("utf-8")
    assert "latencia de una cara, ms" in drawn
    assert drawn.count("<circle") == 4


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no browser is here")
def test_a_click_on_a_heading_sorts_with_what_is_missing_last(tmp_path):
    page = write_grid(tmp_path, "Heads", CELLS, COLUMNS)
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
    page = write_grid(tmp_path, "Heads", CELLS, COLUMNS, evaluation=made(), language=language)
    script = """
      document.documentElement.style.width = "390px";
      return [...document.querySelectorAll("main *")]
        .filter(one => !one.closest(".wide *") && one.getBoundingClientRect().right > 391)
        .map(one => one.tagName + " " + one.textContent.slice(0, 40));"""
    assert in_browser(page, script, tmp_path) == []
