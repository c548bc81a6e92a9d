"""Dagster wiring: definitions, jobs, schedules and the command line."""
