"""OpenAI's APIs: chat completions, completions, models."""
