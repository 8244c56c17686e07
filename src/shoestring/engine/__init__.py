"""The engine: turns sequences of tokens into steps of a model. Scheduling, caching and sampling; no files, no text."""
