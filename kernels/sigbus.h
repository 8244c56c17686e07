// How a program ends when a mapped file is truncated. For programs only: a library leaves signals alone.
#pragma once

namespace shoestring {

// From now on SIGBUS writes one line to stderr and ends the process with code 2.
void install_sigbus_handler();

}  // namespace shoestring
