"""Test models: the two embedded ones, and random models for any config."""
