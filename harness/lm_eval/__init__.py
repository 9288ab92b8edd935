"""lm-eval's own tasks on a checkpoint, recorded for the same leaderboard."""
