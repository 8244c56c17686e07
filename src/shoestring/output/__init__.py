"""From sampled tokens to thinking, text and tool calls, and back: what the next token may be."""
