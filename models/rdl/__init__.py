"""Relational deep learning: the database as a temporal graph in tensors, and networks over it."""
