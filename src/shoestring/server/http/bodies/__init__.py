"""Request bodies: how they arrive, how many at once, and how their JSON becomes a model."""
