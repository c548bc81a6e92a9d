"""Quality gates on raw, staged and training tables."""
