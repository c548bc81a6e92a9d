"""Corpora: many synthetic databases with tasks, tried with the cheap end of both families."""
