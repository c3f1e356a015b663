"""Rows left of the seam: from a cold start and a photo to the vectors."""

from __future__ import annotations
