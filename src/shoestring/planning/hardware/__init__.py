"""Machines: what this one has, and what a user describes on the command line."""
