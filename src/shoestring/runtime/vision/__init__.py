"""What a model can see: its tower and its processor, found in its files or beside them, and loaded."""
