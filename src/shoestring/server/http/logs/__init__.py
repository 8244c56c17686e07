"""The log: a line for each request, written in a thread, to stderr or a file; and the requests' ids."""
