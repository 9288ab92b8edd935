"""Code: Python sources as a graph of statements that are parsed, never executed."""
