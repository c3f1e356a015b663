"""HTML and Markdown reports of evaluations and grids."""

from ferembed.evaluation.html.grid_page import Column, write_grid
from ferembed.evaluation.html.page import prepare_folder
from ferembed.evaluation.html.report_page import write_report

__all__ = ["Column", "prepare_folder", "write_grid", "write_report"]
