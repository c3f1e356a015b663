"""The pictures of reports, as SVG."""

import re

import pytest

from ferembed.evaluation.html.charts import curve


@pytest.mark.parametrize(
    ("lowest", "edge"),
    [(0.99, 90), (0.93, 90), (0.42, 40)],  # never above 90%, or a small difference looks large
)
def test_the_axis_of_a_curve_starts_at_or_below_its_lowest_point(lowest, edge):
    svg = str(curve("title", [(0.5, lowest), (1.0, 1.0)], ("x", "y"), ["a", "b"]))
    ticks = re.findall(r'<text class="pale end"[^>]* y="([\d.]+)">(\d+)%<', svg)
    heights = {int(label): float(y) for y, label in ticks}
    assert min(heights) == edge
    (low, high) = (float(y) for y in re.findall(r'<circle [^>]*cy="([\d.]+)"', svg))
    one_percent = (heights[edge] - heights[100]) / (100 - edge)
    assert low - high == pytest.approx(100 * (1 - lowest) * one_percent, abs=0.2)
