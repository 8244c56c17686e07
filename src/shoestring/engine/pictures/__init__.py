"""Rows without tokens: where pictures stand in a prompt, the tower's turns between steps, and its results."""
