"""Which model to run where: memory, speed, cost and licence from configs and the catalogue, and verdicts.

Needs no weights, no network and no compiled extension.
"""
