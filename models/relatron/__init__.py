"""Relatron: what a task looks like before training, and which family that speaks for."""
