"""Metrics, maps, plots and reports."""
