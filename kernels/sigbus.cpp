#include "sigbus.h"

#include <signal.h>
#include <unistd.h>

namespace shoestring {
namespace {

// Only what POSIX allows in a handler: no allocation, no locks, no Python.
void end_with_one_line(int) {
    static const char line[] = "error: a checkpoint file was truncated while it was read: restore it and start again\n";
    [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line, sizeof line - 1);
    _exit(2);
}

}  // namespace

void install_sigbus_handler() {
    struct sigaction action{};
    action.sa_handler = end_with_one_line;
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, nullptr);
}

}  // namespace shoestring
