"""Saved models and their export."""
