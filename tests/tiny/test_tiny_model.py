"""The bundled model: loads as any folder does, its tokenizer round-trips and keeps the frame short, and it
speaks the format."""

import json
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from azr.parsing import split_response
from azr.prompts import PromptOptions, propose_prompt, solve_prompt
from azr.tasks import Task, TaskType
from tiny.dialogues import END, Habits, draw_dialogue
from tiny.sampling import sample_texts
from tiny.tokenizer import train_tokenizer

ROOT = Path(__file__).resolve().parent.parent.parent
MODEL = ROOT / "data" / "models" / "azr-tiny"
OPTIONS = PromptOptions(frame="compact")


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(MODEL)


@pytest.fixture(scope="module")
def tasks():
    return [
        Task.from_json(json.loads(line))
        for line in (ROOT / "data" / "seeds" / "azr_tiny.jsonl").read_text().splitlines()
    ]


def test_tags_and_fences_are_ordinary_single_tokens(tokenizer):
    """Fails when AutoTokenizer brings another pre-tokenizer than the model was trained with (it does if
    tokenizer_class is named)."""
    for piece in (
        "</think>",
        "<answer>\n",
        "</answer>",
        "\n```python\n",
        "```input\n",
        "```output\n",
        "```message\n",
        "\n    return",
        "\n```\n",
    ):
        assert len(tokenizer(piece).input_ids) == 1, (piece, tokenizer.tokenize(piece))
        assert tokenizer(piece).input_ids[0] not in tokenizer.all_special_ids
    assert len(tokenizer("1234").input_ids) == 4
    assert len(tokenizer("'hello'").input_ids) == 7


def test_dialogues_round_trip(tokenizer):
    rng = Random(2)
    for _ in range(100):
        dialogue = draw_dialogue(rng, Habits())
        prompt, response = (tokenizer(text).input_ids for text in (dialogue.prompt, dialogue.response))
        assert tokenizer.decode(prompt + response) == dialogue.prompt + dialogue.response
        assert tokenizer.decode(response, skip_special_tokens=True) + END == dialogue.response
        assert response[-1] == tokenizer.eos_token_id


@pytest.mark.parametrize(
    "text",
    [
        "naïve ☃ \t x\r\n",
        "<think",
        "```",
        "a'b\"c",
        "\n\n  \n",
        "-5 - -5",
        "x[::-1]",
        "lambda v: v",
        "{1: [2, 'a b']}",
    ],
)
def test_any_text_round_trips(tokenizer, text):
    assert tokenizer.decode(tokenizer(text).input_ids) == text


def test_prompts_of_the_shipped_tasks_fit(tokenizer, tasks):
    longest = 0
    for first, second in pairwise(tasks):
        kind = TaskType.INDUCTION if first.task_type is TaskType.INDUCTION else TaskType.DEDUCTION
        references = [first] if kind is TaskType.INDUCTION else [first, second]
        if kind is TaskType.DEDUCTION and second.task_type is TaskType.INDUCTION:
            continue
        for prompt in (propose_prompt(kind, references, OPTIONS), solve_prompt(first, OPTIONS)):
            assert prompt.raw and prompt.text.endswith("<think>") and prompt.response_prefix == "<think>"
            longest = max(longest, len(tokenizer(prompt.text).input_ids))
    assert longest <= 400


def test_same_texts_same_tokenizer():
    rng = Random(4)
    texts = [
        dialogue.prompt + dialogue.response for dialogue in (draw_dialogue(rng, Habits()) for _ in range(200))
    ]
    assert train_tokenizer(texts).get_vocab() == train_tokenizer(texts).get_vocab()


def test_model_is_small_and_has_the_stated_shape():
    config = json.loads((MODEL / "config.json").read_text())
    assert config["architectures"] == ["Qwen2ForCausalLM"] and config["tie_word_embeddings"]
    assert config["hidden_size"] // config["num_attention_heads"] == 64
    assert (MODEL / "model.safetensors").stat().st_size < 15e6
    assert (MODEL / "README.md").exists()


def test_model_mostly_speaks_the_format(tokenizer, tasks):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32).eval()
    assert 5e6 < sum(parameter.numel() for parameter in model.parameters()) < 7e6
    prompts = [solve_prompt(task, OPTIONS).text for task in tasks[:24]]
    texts = sample_texts(model, tokenizer, prompts, max_new_tokens=100)
    valid = sum(split_response(text, "<think>").format_ok for text in texts)
    assert valid >= 12
