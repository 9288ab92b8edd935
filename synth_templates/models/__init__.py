"""Models: extraction, self-evolution and votes, every reply kept."""
