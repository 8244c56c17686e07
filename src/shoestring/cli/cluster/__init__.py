"""`serve --on`: what answers is not this process."""
