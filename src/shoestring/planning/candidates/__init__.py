"""Candidates: the models to choose from, with the shapes and formats of their weights."""
