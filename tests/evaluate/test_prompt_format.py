"""An exported model is asked as it was trained: by the card's program, and by Ollama's Modelfile."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import pytest
from run_fixture import TINY, make_run, random_model, save_checkpoint
from test_export import CONVERTER
from transformers import AutoTokenizer

from azr.config import Config, from_container
from azr.errors import ConfigError, ModelError
from azr.evaluate import gguf
from azr.evaluate.export import ExportOptions, export_model
from azr.evaluate.prompt_format import PromptFormat, modelfile, prompt_format_of, snippet
from azr.prompts import load_frame
from azr.tasks import TaskType
from azr.train.tokens import prompt_token_ids

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def config(frame: str, *task_types: str) -> Config:
    selfplay = {"frame": frame} | ({"task_types": list(task_types)} if task_types else {})
    return from_container(
        {"selfplay": selfplay, "rollout": {"max_prompt_tokens": 300, "max_response_tokens": 48}}
    )


@pytest.fixture
def chat_model(tmp_path: Path) -> Path:
    """A tokenizer with a chat template and two tokens that end an answer."""
    tokenizer = AutoTokenizer.from_pretrained(TINY)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.chat_template = CHATML
    tokenizer.save_pretrained(tmp_path / "chat")
    ends = [tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids("<|im_end|>")]
    (tmp_path / "chat" / "generation_config.json").write_text(f'{{"eos_token_id": {ends}}}')
    return tmp_path / "chat"


def ollama(text: str, question: str) -> str:
    """What Ollama makes of the template for one question, up to the place of the answer."""
    template, system = (re.search(rf'{name} """(.*?)"""', text, re.DOTALL) for name in ("TEMPLATE", "SYSTEM"))
    assert template is not None
    filled = (
        template[1].replace("{{ .Prompt }}", question).replace("{{ .System }}", system[1] if system else "")
    )
    filled, end, rest = filled.partition("{{ .Response }}")
    assert end and not rest
    return re.sub(r"\{\{ `(.*?)` \}\}", r"\1", filled)


@pytest.mark.parametrize("frame", ["compact", "paper"])
def test_a_raw_frame(frame: str) -> None:
    prompt_format = prompt_format_of(TINY, config(frame))
    tokenizer = AutoTokenizer.from_pretrained(TINY)
    ids = prompt_token_ids(tokenizer, load_frame(frame).wrap(prompt_format.question))
    assert (
        tokenizer.encode(
            prompt_format.before + prompt_format.question + prompt_format.after, add_special_tokens=False
        )
        == ids
    )
    assert (
        prompt_format.after.endswith("<think>")
        and prompt_format.kind is TaskType.DEDUCTION
        and prompt_format.stops == ("<|end|>",)
    )
    text = modelfile(prompt_format, "my model-bf16.gguf")
    assert ollama(text, "1 + 1?") == f"{prompt_format.before}1 + 1?{prompt_format.after}"
    lines = text.splitlines()
    for line in (
        'FROM "./my model-bf16.gguf"',
        'PARAMETER stop "<|end|>"',
        "PARAMETER num_ctx 348",
        "PARAMETER num_predict 48",
    ):
        assert line in lines
    assert "SYSTEM" not in text


def test_a_chat_frame(chat_model: Path) -> None:
    prompt_format = prompt_format_of(chat_model, config("chat"))
    system = load_frame("chat").system
    assert prompt_format.before == f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n"
    assert prompt_format.after.endswith("inside <answer> </answer>.<|im_end|>\n<|im_start|>assistant\n")
    assert prompt_format.system == system and prompt_format.stops == ("<|end|>", "<|im_end|>")
    text = modelfile(prompt_format, "m.gguf")
    assert 'TEMPLATE """<|im_start|>system\n{{ .System }}<|im_end|>\n<|im_start|>user\n{{ .Prompt }}' in text
    assert f'SYSTEM """{system}"""' in text and 'PARAMETER stop "<|im_end|>"' in text
    assert ollama(text, "why?") == f"{prompt_format.before}why?{prompt_format.after}"


@pytest.mark.parametrize(
    "kinds", ["abduction", "error abduction", "induction abduction", "induction abduction deduction"]
)
def test_the_example_is_of_a_kind_that_was_trained(kinds: str) -> None:
    kind = prompt_format_of(TINY, config("compact", *kinds.split())).kind.value
    assert kind == ("deduction" if "deduction" in kinds else kinds.split()[0])


def test_texts_that_templates_would_take_for_their_own() -> None:
    before = 'a {{ x }} """ b'
    prompt_format = PromptFormat(before, "<s>{{", "q", TaskType.DEDUCTION, "", "", ('"', "<|end|>"), 10, 10)
    text = modelfile(prompt_format, "m.gguf")
    assert ollama(text, "?") == f"{before}?<s>{{{{"
    assert 'PARAMETER stop """"""""' not in text and text.count('"""') % 2 == 0
    prompt_format = dataclasses.replace(prompt_format, before="<s>hello ", beginning="<s>")
    assert 'TEMPLATE """hello ' in modelfile(prompt_format, "m.gguf"), (
        "llama.cpp puts the beginning of a sequence there itself"
    )
    program = snippet(dataclasses.replace(prompt_format, question='a\\n"""b\n"'), "m")
    compile(program, "card", "exec")


def test_a_template_that_changes_the_question_is_said(chat_model: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(chat_model)
    tokenizer.chat_template = "{{ messages[-1].content | lower }}"
    tokenizer.save_pretrained(chat_model)
    with pytest.raises(ModelError, match="question does not stand as it is"):
        prompt_format_of(chat_model, config("chat"))
    with pytest.raises(ConfigError):
        prompt_format_of(chat_model, config("/no/frame"))


def test_the_card_s_program_runs_and_the_modelfile_lies_beside_the_weights(tmp_path: Path) -> None:
    checkout = tmp_path / "llama.cpp"
    checkout.mkdir()
    (checkout / gguf.SCRIPT).write_text(CONVERTER.replace("{mode}", "ok"))
    model, said = random_model(), list[str]()
    run = make_run(tmp_path)
    save_checkpoint(run, 2, model.state_dict(), model.config)
    options = ExportOptions(step="latest", check=False, gguf="bf16", llama_cpp=checkout)
    folder = export_model(run, tmp_path / "my-model", options, said.append)
    text = (folder / "Modelfile").read_text()
    [weights] = re.findall(r'^FROM "\./(.*)"$', text, re.MULTILINE)
    assert (folder / weights).is_file() and any("ollama create my-model -f" in line for line in said)
    card = (folder / "README.md").read_text()
    [(_, program)] = re.findall(r"^(````?)python\n(.*?)^\1$", card, re.MULTILINE | re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("\n<think>")


def test_a_frame_that_is_gone_costs_the_prompt_only(tmp_path: Path) -> None:
    model, said = random_model(), list[str]()
    run = make_run(tmp_path, selfplay={"frame": "/gone/frame"})
    save_checkpoint(run, 2, model.state_dict(), model.config)
    folder = export_model(run, tmp_path / "out", ExportOptions(step="latest", check=False), said.append)
    assert "before = " not in (folder / "README.md").read_text()
    assert any("does not show the training prompt" in line for line in said)
