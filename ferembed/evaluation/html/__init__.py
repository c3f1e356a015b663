"""HTML reports of evaluations and grids."""
