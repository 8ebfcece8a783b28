"""Run by test_real_odd_model.py in a process of its own: what the real engine and the trainer's model say of
the same tokens.

    python tests/train/engine_families.py FOLDER MODEL_TYPE...

For each family a small random model is written under FOLDER; one line of JSON each: the largest difference
between the log-probabilities that vLLM gives the tokens of a prompt and those of the packed model with the
chunked head, or what went wrong.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(PROJECT), str(Path(__file__).resolve().parent)]

from azr.train.environment import set_environment  # noqa: E402

set_environment("cpu", 1)
# in this process, as in an evaluation: one of its own would import vLLM anew for every family
os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"

import torch  # noqa: E402
from test_families import OWN, SHAPE  # noqa: E402
from transformers import AutoConfig, AutoModelForCausalLM  # noqa: E402

from azr.models.families import CHECKED, TIED_BY_DEFAULT, WINDOWS_IN_ALL_LAYERS  # noqa: E402
from azr.train.kernels import attention, logprobs  # noqa: E402

TINY = PROJECT / "data" / "models" / "azr-tiny"
LENGTHS = (40, 3, 27)


def write_model(folder: Path, model_type: str) -> None:
    sizes = {
        "vocab_size": 4096,
        "hidden_size": 128,
        "head_dim": 32,
        "torch_dtype": "float32",
        "architectures": [CHECKED[model_type]],
    }
    sizes["tie_word_embeddings"] = model_type in TIED_BY_DEFAULT
    own = {
        **OWN.get(model_type, {}),
        **({"use_sliding_window": False} if model_type in WINDOWS_IN_ALL_LAYERS else {}),
    }
    # as its checkpoints have it; the engine asks, transformers does not
    own |= {"use_qk_norm": True} if model_type == "hunyuan_v1_dense" else {}
    own |= {"num_key_value_heads": SHAPE["num_attention_heads"]} if model_type == "olmo" else {}  # the same
    config = AutoConfig.for_model(model_type, **{**SHAPE, **own, **sizes})
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(TINY / name, folder / name)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(
        json.dumps({**settings, "tokenizer_class": "PreTrainedTokenizerFast"})
    )


def prompts() -> list[list[int]]:
    return [
        torch.randint(3, 4000, (n,), generator=torch.Generator().manual_seed(n)).tolist() for n in LENGTHS
    ]


def of_the_engine(folder: Path) -> list[float]:
    from vllm import LLM, SamplingParams

    settings: dict[str, Any] = {
        "dtype": "float32",
        "max_model_len": 128,
        "enforce_eager": True,
        "max_num_seqs": 4,
    }
    engine = LLM(str(folder), enable_prefix_caching=False, **settings)
    asked: Any = [{"prompt_token_ids": ids} for ids in prompts()]
    outputs = engine.generate(asked, SamplingParams(max_tokens=1, prompt_logprobs=0), use_tqdm=False)
    found = []
    for ids, output in zip(prompts(), outputs, strict=True):
        told: Any = output.prompt_logprobs
        found += [told[place][token].logprob for place, token in enumerate(ids) if place]
    engine.llm_engine.engine_core.shutdown()
    return found


@torch.no_grad()
def of_the_trainer(folder: Path) -> list[float]:
    model: Any = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation=attention.register()
    )
    attention.pass_boundaries(model)
    logprobs.install_chunked_logprobs(model)
    positions = torch.cat([torch.arange(length) for length in LENGTHS])[None]
    ids = torch.tensor([[token for prompt in prompts() for token in prompt]])
    output = model(input_ids=ids, position_ids=positions, attention_mask=None, use_cache=False).log_probs[0]
    return torch.cat([part[:-1] for part in output.split(list(LENGTHS))]).tolist()


def main() -> None:
    for model_type in sys.argv[2:]:
        folder = Path(sys.argv[1]) / model_type
        try:
            write_model(folder, model_type)
            # the engine comes second: for some families it changes the class that the trainer's model has
            pairs = list(zip(of_the_trainer(folder), of_the_engine(folder), strict=True))
            told: Any = max(abs(trainer - engine) for trainer, engine in pairs)
        except Exception as error:  # noqa: BLE001  (the next family is asked all the same)
            told = f"{type(error).__name__}: {error}"
        print("RESULT " + json.dumps({model_type: told}), flush=True)


if __name__ == "__main__":
    main()
