"""Commands that serve: serve, batch, doctor."""
