"""Curation: what is left out or drawn: duplicates, contamination, quality, difficulty."""
