"""The figures of docs/benchmarks.md about speed, beside llama.cpp and ik_llama.cpp."""
