"""Pictures and video of a loaded model: from messages to what its prompt contains."""
