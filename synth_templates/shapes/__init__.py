"""Shapes: how a question and its proof come from a corpus, one file per shape."""
