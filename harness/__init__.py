"""The ground: the nouns and rules of one task, from spec and records to scores and rollouts."""
