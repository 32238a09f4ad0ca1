"""Keras Tuner, behind one door: searches over any fields of a recipe."""
