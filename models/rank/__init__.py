"""Arranging: the learned ranker, blending and diversity."""
