"""What holds for every test."""

import signal

from hypothesis import settings

# A shell starts background jobs with Ctrl-C ignored, and children inherit that; the tests of Ctrl-C need it back.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Time limits are pytest's: a slow machine is no failure of a property.
settings.register_profile("shoestring", deadline=None)
settings.load_profile("shoestring")
