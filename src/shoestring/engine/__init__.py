"""The engine: sequences of tokens become steps of a model. Scheduling, caches, sampling; no files, no text."""
