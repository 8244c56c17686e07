"""Commands that use one model: run, chat, inspect, perplexity, demo, pull, list."""
