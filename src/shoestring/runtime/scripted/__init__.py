"""A model with scripted answers instead of weights, and the script of demo-scripted."""

#: The MODEL of the script in demo.py.
DEMO_SCRIPTED = "demo-scripted"
