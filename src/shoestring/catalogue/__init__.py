"""Facts about models, scores, prices, devices, engines and licences: plain data files, one schema each.

Every row says where it is from, of what date it is, and of what kind: vendor-claimed, independent, measured here,
computed. What can be computed from other rows or from a config is computed, never typed.
"""
