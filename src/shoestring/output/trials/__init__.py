"""Compile untrusted grammars in a child process first: llguidance may need minutes or gigabytes, or end the process."""
