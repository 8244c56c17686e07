"""What holds for every test."""

import signal

# A shell starts background jobs with Ctrl-C ignored, and children inherit that; the tests of Ctrl-C need it back.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
