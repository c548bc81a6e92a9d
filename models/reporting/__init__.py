"""Scores, plots and the static report of a task."""
