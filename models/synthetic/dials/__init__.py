"""Planted databases: one forecast task each, whose difficulty is set by dials."""
