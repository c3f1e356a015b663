"""Cells on disk: read again, refused, and fitted anew."""

from dataclasses import replace

from ferembed.benchmark import benchmark


def test_other_labels_are_other_data(ran, data, grid):
    folder, _ = ran
    other = replace(data, label_codes=data.label_codes[::-1].copy())
    outcome = benchmark(grid, other, folder, store=folder / "store.sqlite")
    assert (outcome.computed, outcome.fitted) == (0, 3)


def test_damaged_cells_are_fitted_again(data, grid, tmp_path):
    benchmark(grid, data, tmp_path, store="memory")
    damaged, cut, *_ = (tmp_path / "cells").iterdir()
    damaged.write_text("[" * 100_000)  # deeper than Python reads
    cut.write_text("[]")
    seen = []
    again = benchmark(
        grid, data, tmp_path, store="memory", progress=lambda *counts: seen.append(counts)
    )
    assert again.fitted == 2
    assert (2, 2) in seen


def test_a_cell_that_cannot_be_written_fails_alone(data, grid, tmp_path):
    benchmark(grid, data, tmp_path, store="memory")
    lost, *kept = (tmp_path / "cells").iterdir()
    lost.unlink()
    lost.mkdir()  # nothing can be written there
    outcome = benchmark(grid, data, tmp_path, store="memory")
    assert outcome.failed == 0
    assert f"Cannot write {lost}: Is a directory." in outcome.table()
    assert all(file.is_file() for file in kept)
