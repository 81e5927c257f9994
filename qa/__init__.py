"""Measures: plain functions, one number per row, units in the name."""
