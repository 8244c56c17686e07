"""The vision towers: a family a file. `models/towers.py` calls them."""
