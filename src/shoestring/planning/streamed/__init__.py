"""Shoestring's own disk tier: what stays in memory, what a token reads, and the tokens/s that follow."""
