"""Configs: the dataclasses of both families, and the tables to read and write them."""
