"""Configs: the dataclasses of both families, and the tables by which they are read and written."""
