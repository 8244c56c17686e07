"""Recommend models: compute memory, speed, cost and licence terms from configs and the catalogue, and rank them.

Needs no weights, no network and no compiled extension.
"""
