"""What rotary frequencies rounded to bfloat16 do to a model's log-probs, everything else in float32, on a CPU.

    python scripts/dev/rotary_study.py /models/Qwen2.5-Coder-0.5B-Instruct
    python scripts/dev/rotary_study.py build/random-1.5b --random-tokens --layers 14

Prints the mean difference in nats of 300 drawn tokens after 600: of a source file, or with ``--random-tokens`` as in
``bench_step.py``, bytes and then any tokens.
"""

from __future__ import annotations

import _project

from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

ROOT = Path(__file__).resolve().parents[2]
PROMPT, RESPONSE = 600, 300


def main() -> None:
    parser = _project.argument_parser(__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--random-tokens", action="store_true")
    parser.add_argument("--layers", type=int, help="only the first so many")
    options = parser.parse_args()
    torch.manual_seed(0)
    config = AutoConfig.from_pretrained(options.folder)
    config.num_hidden_layers = options.layers or config.num_hidden_layers
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[: config.num_hidden_layers]
    model = AutoModelForCausalLM.from_pretrained(options.folder, config=config, dtype=torch.float32)
    if options.random_tokens:
        tokens = [*torch.randint(1, 256, (PROMPT,)), *torch.randint(0, config.vocab_size, (RESPONSE,))]
    else:
        text = (ROOT / "azr/selfplay/credit.py").read_text(encoding="utf-8")
        tokens = AutoTokenizer.from_pretrained(options.folder)(text).input_ids[: PROMPT + RESPONSE]
    ids = torch.tensor([[int(token) for token in tokens]])

    @torch.no_grad()
    def log_probs() -> torch.Tensor:
        """[RESPONSE, vocabulary]"""
        return model.lm_head(model.model(ids).last_hidden_state[0, PROMPT - 1 : -1]).log_softmax(-1)

    exact, rotary = log_probs(), model.model.rotary_emb
    rotary.inv_freq = rotary.inv_freq.bfloat16().float()
    drawn = torch.multinomial(exact.exp(), 1)
    print(f"{(exact - log_probs()).gather(1, drawn).abs().mean():.4f} nats")


if __name__ == "__main__":
    main()
