"""Synthesis: declared question kinds and the engine that fills them from documents."""
