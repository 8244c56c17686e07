"""The backend that is another server with OpenAI's API: `serve --on URL`, and `--on vllm`."""
