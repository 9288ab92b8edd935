"""Solvers that plug into any task: full context, the memory agent and baselines."""
