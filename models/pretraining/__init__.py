"""Pretraining of the relational network: task vectors, masked autoencoding, contrast, probing."""
