"""Benchmarks of experts that stream from disk: `make bench-streaming`."""
