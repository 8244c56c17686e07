"""Facts about models, scores, prices, devices, engines and licences: plain data files, one schema each.

Every row has a source, a date and a kind: vendor-claimed, independent, measured here, or computed. Values that follow
from other rows or from a config are computed, never entered.
"""
