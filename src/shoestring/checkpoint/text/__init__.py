"""Text: tokenizers and chat templates of a checkpoint."""
