"""File formats: read GGUF and safetensors, write GGUF."""
