"""Logs to tidy rows, statistics, plots and a static page."""
