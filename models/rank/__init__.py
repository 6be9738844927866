"""Arranging: blending, the learned ranker, diversity, exploration."""
