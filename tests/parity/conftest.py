"""Parity needs torch and transformers (`make parity` installs them); without them there is nothing to collect."""

import importlib.util

if importlib.util.find_spec("torch") is None or importlib.util.find_spec("transformers") is None:
    collect_ignore_glob = ["test_*.py"]
elif importlib.util.find_spec("torchvision") is None:
    collect_ignore = ["test_media_parity.py"]
else:
    import torchvision_operators

    torchvision_operators.declare()
