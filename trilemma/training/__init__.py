"""Recipes, the training that runs one, and the weights that came of it."""
