"""Makes tests/golden/*.npz: logits of the tiny models by `transformers` (torch CPU, float64). Run manually.

PYTHONPATH=tests/golden python tests/golden/make_golden.py
"""

from pathlib import Path

import numpy as np
import torch
import transformers
from tiny_models import TINY, TinyModel


def logits(model: TinyModel) -> np.ndarray:
    """[40, vocabulary] float64."""
    config = transformers.AutoConfig.for_model(**model.config)
    with torch.no_grad():
        plain = {"attn_implementation": "eager", "experts_implementation": "eager"}
        theirs = transformers.AutoModelForCausalLM.from_config(config, **plain).double().eval()
        state = {name: torch.from_numpy(array).double() for name, array in model.make().items()}
        missing, unexpected = theirs.load_state_dict(state, strict=False)
        tied = {"lm_head.weight"} if model.config["tie_word_embeddings"] else set()
        assert not unexpected, unexpected
        assert set(missing) <= tied, missing
        theirs.tie_weights()
        ids = torch.from_numpy(model.tokens())[None]
        if not model.spread_positions:
            return theirs(ids).logits[0].numpy()
        positions = torch.from_numpy(model.rotary_positions().T.copy())[:, None]
        return theirs(ids, position_ids=positions).logits[0].numpy()


if __name__ == "__main__":
    for name, model in TINY.items():
        result = logits(model).astype(np.float32)
        print(name, result.std(), np.abs(result).max())
        np.savez_compressed(
            Path(__file__).parent / f"{name}.npz", logits=result, transformers=np.array(transformers.__version__)
        )
