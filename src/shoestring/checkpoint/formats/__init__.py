"""File formats: GGUF and safetensors are parsed here, GGUF is written here."""
