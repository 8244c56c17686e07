"""What answers requests behind the endpoints: the engine of this process, another server, or replicas on Ray."""
