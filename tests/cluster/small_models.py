"""Small random models of both families with real head sizes, as folders that vLLM and we load.

    python small_models.py qwen3_5|llama4 FOLDER

The tokenizer has one token per byte and the family's added tokens; the chat template is the family's documented format.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from shoestring.checkpoint.text.chat_template import ChatTemplate
from shoestring.checkpoint.text.tokenizer import byte_characters
from shoestring.runtime.scripted.model import _WORDS, Family, scripted_tokenizer

#: A multiple of 64, above the 256 bytes and the added tokens.
VOCABULARY = 320
#: vLLM refuses other sizes: delta-net heads of 128, attention heads of 256 beside them.
QWEN = {
    "vocab_size": VOCABULARY,
    "hidden_size": 256,
    "num_hidden_layers": 4,
    "layer_types": ["linear_attention", "linear_attention", "linear_attention", "full_attention"],
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 256,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 128,
    "linear_value_head_dim": 128,
    "linear_conv_kernel_dim": 4,
    "num_experts": 8,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 128,
    "shared_expert_intermediate_size": 128,
    "max_position_embeddings": 4096,
    "rope_parameters": {
        "rope_type": "default",
        "rope_theta": 10_000_000,
        "partial_rotary_factor": 0.25,
        "mrope_interleaved": True,
        "mrope_section": [11, 11, 10],
    },
    "tie_word_embeddings": False,
}
LLAMA = {
    "vocab_size": VOCABULARY,
    "hidden_size": 256,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 128,
    "intermediate_size": 256,
    "intermediate_size_mlp": 512,
    "num_local_experts": 4,
    "num_experts_per_tok": 1,
    "interleave_moe_layer_step": 1,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": False,
}
VISION = {
    "qwen3_5": {"depth": 1, "hidden_size": 64, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": 256},
    "llama4": {
        "num_hidden_layers": 1, "hidden_size": 64, "intermediate_size": 64, "num_attention_heads": 2, "image_size": 28,
        "patch_size": 14, "vision_output_dim": 64, "projector_input_dim": 64, "projector_output_dim": 64,
    },
}  # fmt: skip


def write(family: Family, folder: Path) -> Path:
    """The folder of a random model in bfloat16. Needs torch and transformers."""
    import torch
    import transformers

    torch.manual_seed(7)
    kind = "qwen3_5_moe" if family == "qwen3_5" else "llama4"
    text = QWEN if family == "qwen3_5" else LLAMA
    ids = special_ids(family)
    config = transformers.AutoConfig.for_model(kind, text_config={**text, **ids}, vision_config=VISION[family], **ids)
    config.tie_word_embeddings = False
    model = transformers.AutoModelForImageTextToText.from_config(config)
    with torch.no_grad():
        for name, p in model.named_parameters():
            _fill(torch, name, p, family)
    model.to(torch.bfloat16).save_pretrained(folder)
    write_tokenizer(family, folder)
    return folder


def _fill(torch: Any, name: str, p: Any, family: Family) -> None:
    """Weights under which logits spread: the router decides clearly, norms are around their middle."""
    if name.endswith("norm.weight"):
        centred = family == "qwen3_5" and not name.endswith("linear_attn.norm.weight")
        p.normal_(0.0 if centred else 1.0, 0.1)
    elif name.endswith("A_log"):
        p.normal_(-1.0, 0.7)
    elif name.endswith(("dt_bias", "conv1d.weight")):
        p.normal_(0.0, 0.5)
    elif name.endswith("embed_tokens.weight"):
        p.normal_(0.0, 1.0)
    elif name.endswith("lm_head.weight"):
        p.normal_(0.0, 3 * p.shape[-1] ** -0.5)
    elif p.ndim >= 2 and "visual" not in name and "vision" not in name:
        inner = p.shape[1] if "experts." in name and p.ndim == 3 and family == "llama4" else p.shape[-1]
        p.normal_(0.0, 1.5 * inner**-0.5)


def special_ids(family: Family) -> dict[str, Any]:
    tokenizer = scripted_tokenizer(family)
    ids: dict[str, Any] = {"eos_token_id": min(tokenizer.eos_ids), "pad_token_id": min(tokenizer.eos_ids)}
    if tokenizer.bos_id is not None:
        ids["bos_token_id"] = tokenizer.bos_id
    return ids


def write_tokenizer(family: Family, folder: Path) -> None:
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers

    words = _WORDS[family]
    vocabulary = {text: i for i, text in enumerate(byte_characters())}
    built = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    built.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    built.decoder = decoders.ByteLevel()
    built.add_special_tokens([tokenizers.AddedToken(text, special=True, normalized=False) for text in words.special])
    built.add_tokens([tokenizers.AddedToken(text, special=False, normalized=False) for text in words.plain])
    built.save(str(folder / "tokenizer.json"))
    template = ChatTemplate.of_family(family, scripted_tokenizer(family)).templates["default"]
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": words.end,
        "pad_token": words.end,
        "chat_template": template,
        **({} if words.bos is None else {"bos_token": words.bos, "add_bos_token": True}),
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2))
    ends = sorted(scripted_tokenizer(family).eos_ids)
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": ends, "temperature": 1.0}))


if __name__ == "__main__":
    write(sys.argv[1], Path(sys.argv[2]))  # type: ignore[arg-type]
