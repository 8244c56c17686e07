"""Time transformers on a config with random float32 weights. Prints JSON.

python torch_peer.py CONFIG PROMPT ANSWER THREADS
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import torch


def main() -> None:
    sys.path.append(str(Path(__file__).parents[2] / "tests" / "parity"))
    import torchvision_operators

    torchvision_operators.declare()
    import transformers

    config, prompt, answer = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(int(sys.argv[4]))
    torch.manual_seed(0)
    settings = transformers.AutoConfig.from_pretrained(config).get_text_config()
    model = transformers.AutoModelForCausalLM.from_config(settings, dtype=torch.float32).eval()
    tokens = torch.randint(0, 1000, (1, prompt))
    with torch.inference_mode():
        timed(model, tokens[:, :32], 4)  # warms up
        print(json.dumps(dict(zip(("prefill", "decode"), timed(model, tokens, answer), strict=True))))


def timed(model: torch.nn.Module, tokens: torch.Tensor, answer: int) -> tuple[float, float]:
    """Tokens per second of a prompt, and of an answer after one token."""
    began = time.perf_counter()
    model(tokens, logits_to_keep=1)
    prefill = tokens.shape[1] / (time.perf_counter() - began)
    out = model(tokens[:, :1], use_cache=True)
    began = time.perf_counter()
    for _ in range(answer):
        token = out.logits[:, -1].argmax(-1, keepdim=True)
        out = model(token, past_key_values=out.past_key_values, use_cache=True)
    return prefill, answer / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
