"""Worlds: generated documents and dialogues, and the prose that they are written in."""
