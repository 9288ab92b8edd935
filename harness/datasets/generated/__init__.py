"""Benchmarks that are generated: RULER and needle in a haystack, at any length, without data."""
