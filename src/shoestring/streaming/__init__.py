"""Experts that are read from disk when a token needs them, inside a budget of memory (docs/streaming.md)."""
