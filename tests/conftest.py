"""What holds for every test."""

import signal

from hypothesis import settings

# A shell starts background jobs with Ctrl-C ignored, and children inherit that; the tests of Ctrl-C need it back.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Time limits are pytest's: a slow machine is no failure of a property. The examples of a property are the same in every
# run, so that a change passes or fails by what it changes; bench/deep.sh draws new ones.
settings.register_profile("same", deadline=None, derandomize=True)
settings.register_profile("new", deadline=None)
settings.load_profile("same")
