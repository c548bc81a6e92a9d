"""Dagster assets, one module a stage: config in, library call, metadata and plots out."""
