"""Databases: their schema, the ways in, and the dbt folder that declares them."""
