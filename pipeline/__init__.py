"""The stages of a migration: the only package that knows Dagster and disk."""
