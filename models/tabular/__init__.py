"""Learners over feature tables and their self-contained bundles."""
