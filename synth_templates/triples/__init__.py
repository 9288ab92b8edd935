"""Triples: the graph of statements, paths through it, and whether they can be trusted."""
