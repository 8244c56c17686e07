"""Configs: the dataclasses of both families, and the parsers of config.json and GGUF metadata."""
