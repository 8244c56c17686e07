"""Pictures and videos of requests: from what a client sent to bytes, or a refusal."""
