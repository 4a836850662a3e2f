"""Metrics, the evaluator of each data set, the scoreboard, the game for people."""
