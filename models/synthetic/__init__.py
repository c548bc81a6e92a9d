"""Synthetic databases."""
