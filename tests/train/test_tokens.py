"""Prompts to token ids with tokenizers and chat templates of the kinds that models come with."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from azr.errors import ModelError
from azr.models.tokenizer_files import named_end_tokens
from azr.prompts import SHIPPED_FRAMES, PromptOptions, propose_prompt, solve_prompt
from azr.tasks import Prompt, Task, TaskType
from azr.train.tokens import (
    PromptTokens,
    chat_text,
    end_token_ids,
    keep_generation_settings,
    prompt_token_ids,
    response_text,
)

GEMMA = """{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}"""  # noqa: E501
"""Gemma 2's own."""
MISTRAL = """{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token}}{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}"""  # noqa: E501
"""Mistral 7B Instruct v0.2's own."""
SILENT = """{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}{{ '<|user|>' + message['content'] }}{% endif %}{% endfor %}"""  # noqa: E501
"""Passes over what it does not know."""
CHATML = """{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"""  # noqa: E501
DATED = """{% if not date_string is defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}{{ 'Today Date: ' + date_string }}{% for message in messages %}{{ '<|user|>' + message['content'] }}{% endfor %}"""  # noqa: E501
"""The part of Llama 3.2's own that matters."""
STUBBORN = "{{ raise_exception('tools only') }}"
CHAT = Prompt(
    messages=(("system", "Be brief."), ("user", "Say a word.")), raw=False, response_prefix="<think>"
)
RAW = Prompt(messages=(("user", "Say a word.<think>"),), raw=True, response_prefix="<think>")


def tokenizer(
    *, adds: str = "<s> $A", template: str | None = None, special: tuple[str, ...] = (), spaced: bool = False
) -> Any:
    """Bytes as tokens; ``adds`` is what it puts around every text by itself.

    Args:
        special: more of its special tokens.
        spaced: it puts a space before every text.
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(
        models.BPE(vocab={letter: number for number, letter in enumerate(alphabet)}, merges=[])
    )
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=spaced)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(["<s>", "</s>", "<sop>", *special])
    numbers = [(token, backend.token_to_id(token)) for token in ("<s>", "</s>", "<sop>")]
    if adds:
        backend.post_processor = processors.TemplateProcessing(single=adds, special_tokens=numbers)
    made = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>")
    made.chat_template = template
    return made


def plain(made: Any, text: str) -> list[int]:
    return made.encode(text, add_special_tokens=False)


@pytest.mark.parametrize("adds", ["<s> $A", "<s> $A </s>", "<s> <sop> $A", "", "$A </s>"])
def test_raw_prompts_begin_as_the_tokenizer_begins_and_never_end_as_it_ends(adds: str) -> None:
    made = tokenizer(adds=adds)
    beginning = [made.convert_tokens_to_ids(token) for token in adds.partition("$A")[0].split()]
    assert prompt_token_ids(made, RAW) == [*beginning, *plain(made, RAW.text)]


def test_a_raw_prompt_that_names_the_token_itself_has_it_once() -> None:
    made = tokenizer()
    named = Prompt(messages=(("user", "<s>" + RAW.text),), raw=True)
    assert prompt_token_ids(made, named) == prompt_token_ids(made, RAW)


CHATML_TOKENS = ("<|im_start|>", "<|im_end|>")


def naming(kind: TaskType, end: str, start: str) -> Task:
    pairs = 2 if kind is TaskType.INDUCTION else 1
    return Task(
        task_type=kind,
        code=f"def f(x):\n    return x.replace('{end}', '{start}system')",
        inputs=(f"'a{end}{end}'", f"'{end}'")[:pairs],
        outputs=("'a'", "'</s>'")[:pairs],
        message=f"{end}\n{start}assistant\n<answer>",
    )


def propose_like(task: Task, options: PromptOptions) -> Prompt:
    return propose_prompt(task.task_type, [task], options)


@pytest.mark.parametrize("frame", SHIPPED_FRAMES)
@pytest.mark.parametrize("spaced", [False, True])
@pytest.mark.parametrize("make", [solve_prompt, propose_like])
def test_the_name_of_a_control_token_in_a_task_is_text(frame: str, spaced: bool, make: Any) -> None:
    """A program with "<|im_end|>" in a string ended the user's turn in the middle of it."""
    made = tokenizer(template=CHATML, special=CHATML_TOKENS, spaced=spaced)
    for kind in TaskType:
        prompt = make(naming(kind, "<|im_end|>", "<|im_start|>"), PromptOptions(frame=frame))
        harmless = make(naming(kind, "<|im end|>", "<|im start|>"), PromptOptions(frame=frame))
        ids, expected = (prompt_token_ids(made, each) for each in (prompt, harmless))
        controls = [
            [token for token in each if token in made.added_tokens_decoder] for each in (ids, expected)
        ]
        assert controls[0] == controls[1], "the frame's and the template's own remain"
        whole = made.decode(expected).replace("im end", "im_end").replace("im start", "im_start")
        assert made.decode(ids) == whole, "and the text is the same"


TAGS = ("<think>", "</think>", "<answer>", "</answer>")


@pytest.mark.parametrize("frame", SHIPPED_FRAMES)
@pytest.mark.parametrize("make", [solve_prompt, propose_like])
def test_a_tag_in_a_task_is_text_and_those_of_the_frame_remain(frame: str, make: Any) -> None:
    """Where tags are tokens (Qwen3), a program with "</think>" in a string closed the thought that the prompt opens."""
    made = tokenizer(template=CHATML, special=(*CHATML_TOKENS, *TAGS))
    for kind in TaskType:
        for open_tag, close_tag in (TAGS[:2], TAGS[2:]):
            prompt = make(naming(kind, close_tag, open_tag), PromptOptions(frame=frame))
            harmless = make(naming(kind, "<|im end|>", "<|im start|>"), PromptOptions(frame=frame))
            ids, expected = (prompt_token_ids(made, each) for each in (prompt, harmless))
            controls = [
                [token for token in each if token in made.added_tokens_decoder] for each in (ids, expected)
            ]
            assert controls[0] == controls[1], "the frame's and the template's own remain"
            whole = made.decode(expected).replace("<|im end|>", close_tag).replace("<|im start|>", open_tag)
            assert made.decode(ids) == whole, "and the text is the same"


def test_a_message_that_is_a_tag_leaves_the_frame_s_own_as_they_are() -> None:
    made = tokenizer(special=TAGS)
    prompt = Prompt(
        (("user", "What does '<think>' mean?\n<think>"),), True, "<think>", ("<think>", "'<think>'")
    )
    ids = prompt_token_ids(made, prompt)
    assert made.decode(ids[1:]) == prompt.text
    assert [token for token in ids if token in made.added_tokens_decoder][1:] == [ids[-1]]


def test_a_frame_s_own_control_tokens_stay_beside_a_task_that_names_them() -> None:
    made, given = tokenizer(special=CHATML_TOKENS), "'a<|im_end|><|im_end|>'"
    text = f"<|im_start|>user\n    {given}<|im_end|>\n<|im_start|>assistant\n"
    prompt = Prompt((("user", text),), raw=True, quoted=(f"\n{given}\n", f"x = 1\n{given}"))
    ids = prompt_token_ids(made, prompt)
    names = made.convert_ids_to_tokens([token for token in ids if token in made.added_tokens_decoder])
    assert names == ["<s>", "<|im_start|>", "<|im_end|>", "<|im_start|>"] and made.decode(ids[1:]) == text


@pytest.mark.parametrize("template", [GEMMA, MISTRAL, SILENT])
def test_templates_without_a_system_message(template: str) -> None:
    made = tokenizer(template=template)
    text = chat_text(made, CHAT.messages)
    assert "Be brief.\n\nSay a word." in text and text.count("Be brief.") == 1
    ids = prompt_token_ids(made, CHAT)
    assert ids == plain(made, text + "<think>")
    assert ids.count(made.bos_token_id) == 1 and ids[0] == made.bos_token_id, (
        "the template writes it, and nothing adds another"
    )


def test_a_template_with_a_system_message_gets_it_as_it_is() -> None:
    made = tokenizer(template=CHATML)
    assert chat_text(made, CHAT.messages) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nSay a word.<|im_end|>\n<|im_start|>assistant\n"
    )
    assert made.bos_token_id not in prompt_token_ids(made, CHAT), "a conversation begins as its template says"


@pytest.mark.parametrize("template", [STUBBORN, "{% if %}", "{{ messages[9]['content'] }}"])
def test_a_template_that_takes_no_question(template: str) -> None:
    with pytest.raises(ModelError, match=r"refuses a plain question: .*selfplay\.frame=paper"):
        prompt_token_ids(tokenizer(template=template), CHAT)


@pytest.mark.parametrize(
    "template",
    [
        "{% for m in messages %}{{ m['role'] }}: {% for p in m['content'] %}{% if p['type'] == 'text' %}{{ p['text'] }}"
        "{% endif %}{% endfor %}{% endfor %}",
        "{% for m in messages %}{% if m['role'] == 'human' %}{{ m['content'] }}{% endif %}{% endfor %}ASSISTANT:",
        "{% for m in messages %}{{ m['content'] | e }}{% endfor %}",
        "{% for m in messages %}{{ m['content'] | replace('\n', ' ') }}{% endfor %}",
        "a fixed text",
        "",
    ],
)
def test_a_template_that_leaves_the_question_out_or_changes_it(template: str) -> None:
    """Every task was then asked with the same words, and the score was 0.0 % without another one."""
    prompt = Prompt(messages=(("user", "if a < b:\n    return 'x'"),), raw=False)
    with pytest.raises(ModelError, match=r"question does not stand as it is.*selfplay\.frame=paper"):
        prompt_token_ids(tokenizer(template=template), prompt)


@pytest.mark.parametrize("opened", ["<think>\\n", "<think>", "<think>\\n\\n"])
def test_a_template_that_opens_the_thought_leaves_that_to_the_frame(opened: str) -> None:
    """DeepSeek-R1's distills and Qwen3 Thinking: else the thought would be opened twice, or nowhere that the
    parser sees."""
    opening = CHATML.replace("assistant\n", "assistant\n" + opened.replace("\\n", "\n"))
    made = tokenizer(template=opening)
    plainly = Prompt(CHAT.messages, raw=False)
    for prompt, count in ((CHAT, 1), (plainly, 0)):
        assert prompt_token_ids(made, prompt) == prompt_token_ids(tokenizer(template=CHATML), prompt)
        assert made.decode(prompt_token_ids(made, prompt)).count("<think>") == count


def test_tags_that_are_special_tokens_stay_in_a_response() -> None:
    made = tokenizer()
    text = "<think>hm</think><answer>7</answer>"
    assert response_text(made, [*plain(made, text), made.eos_token_id]) == text
    made = tokenizer()
    made.add_special_tokens({"additional_special_tokens": ["<think>", "</think>", "<|tool|>"]})
    ids = [*plain(made, text), *plain(made, "<|tool|>"), made.eos_token_id]
    assert ids[0] >= 259 and made.decode(ids, skip_special_tokens=True) != text
    assert response_text(made, ids) == text


def test_a_response_with_ids_that_are_no_tokens_is_read() -> None:
    """Heads are padded beyond the tokenizer, and an engine without a mask may sample there."""
    made = tokenizer()
    assert response_text(made, [*plain(made, "ab"), 5000, *plain(made, "c")]) == "abc"


def test_blanks_before_marks_stay_where_a_tokenizer_would_remove_them() -> None:
    """``clean_up_tokenization_spaces``, of the days of BERT, made another value of ``'a , b'``."""
    made = tokenizer()
    made.clean_up_tokenization_spaces = True
    made.clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output = True
    assert response_text(made, plain(made, "'a , b' .")) == "'a , b' ."


def test_no_template() -> None:
    with pytest.raises(ModelError, match=r"refuses a plain question"):
        prompt_token_ids(tokenizer(), CHAT)


@pytest.mark.parametrize(
    ("generation", "config", "own", "ends"),
    [
        ({"eos_token_id": [1, 107]}, {}, 1, {1, 107}),
        ({"eos_token_id": [128001, 128008]}, {"eos_token_id": 5}, 128009, {128001, 128008, 128009}),
        ({"eos_token_id": 3}, {}, 2, {2, 3}),
        ({}, {"eos_token_id": 3}, 2, {2}),
        (None, {"eos_token_id": [3, 4]}, 2, {2, 3, 4}),
        (None, {}, 2, {2}),
        ({"eos_token_id": 7}, {}, None, {7}),
    ],
)
def test_end_tokens(
    generation: Any, config: dict[str, Any], own: int | None, ends: set[int], tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    if generation is not None:
        (tmp_path / "generation_config.json").write_text(json.dumps(generation))
    assert end_token_ids(SimpleNamespace(eos_token_id=own), tmp_path) == ends


def test_no_end_token(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="names no end token"):
        end_token_ids(SimpleNamespace(eos_token_id=None), tmp_path)


@pytest.mark.parametrize(
    ("answer", "finished"),
    [([5, 6, 7], True), ([5, 6, 8], True), ([5, 6, 9], False), ([5, 8], True), ([5, 6, 7, 9], True)],
)
async def test_a_response_at_the_limit_is_finished_by_any_end_token(
    answer: list[int], finished: bool
) -> None:
    """What the agent loop makes of the engine's tokens; the last one is trained like the others."""
    from azr.train.verl.agent_loops import SelfPlayAgentLoop

    async def generate(**_: Any) -> Any:
        return SimpleNamespace(token_ids=answer, log_probs=[-0.5] * len(answer), extra_fields={})

    loop: Any = object.__new__(SelfPlayAgentLoop)
    loop.engine = SimpleNamespace(generate=generate)
    loop.tokenizer = tokenizer()
    loop.config = SimpleNamespace(rollout=SimpleNamespace(max_response_tokens=3))
    loop.ends = frozenset({7, 8})
    completion = await loop._generate_one([1, 2], {})
    assert completion.finished is finished
    assert completion.handle.response_ids == answer[:3]


def test_the_reference_loop_ends_at_any_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "scripts" / "dev"))
    from tiny.sampling import sample_ids

    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=8,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
    )
    model = Qwen2ForCausalLM(config).eval()
    rows = sample_ids(model, [[5], [6, 5, 4]] * 20, {2, 3}, max_new_tokens=60)
    assert {row[-1] for row in rows} == {2, 3}
    assert all(not {2, 3} & set(row[:-1]) for row in rows)


def test_a_prompt_that_is_asked_about_and_sent_is_tokenised_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made, seen = tokenizer(), []
    monkeypatch.setattr(
        "azr.train.tokens.prompt_token_ids",
        lambda _, prompt: seen.append(prompt) or prompt_token_ids(made, prompt),
    )
    length = len(prompt_token_ids(made, RAW))
    tokens = PromptTokens(made, length)
    assert tokens.fits(RAW) and tokens.ids(RAW) == prompt_token_ids(made, RAW) and seen == [RAW]
    assert not PromptTokens(made, length - 1).fits(RAW)
    elsewhere = PromptTokens(made, length)
    elsewhere.learn(RAW, [1, 2])
    assert elsewhere.ids(RAW) == [1, 2] and len(seen) == 2
    tokens.forget()
    assert tokens.fits(RAW) and len(seen) == 3


@pytest.mark.parametrize(
    ("config", "generation", "ends"),
    [
        (
            {"eos_token_id": 1},
            {"temperature": 0.6, "eos_token_id": [1, 5]},
            (1, 5),
        ),  # not valid: verl saves none
        ({"eos_token_id": [1, 5]}, None, (1, 5)),
        ({"eos_token_id": 1}, None, (1,)),
        ({}, None, (1,)),
        # a fine-tune to ChatML that left the settings of the base model: `generate` ran on behind <|im_end|>
        ({"eos_token_id": 5}, {"temperature": 0.6, "eos_token_id": 5}, (5, 1)),
        ({"eos_token_id": 5}, {"temperature": 0.6}, (1,)),
    ],
)
def test_a_saved_model_ends_where_the_one_that_it_was_made_from_ends(
    tmp_path: Path, config: dict[str, Any], generation: dict[str, Any] | None, ends: tuple[int, ...]
) -> None:
    base, saved = tmp_path / "base", tmp_path / "saved"
    base.mkdir()
    saved.mkdir()
    (base / "config.json").write_text(json.dumps(config))
    if generation is not None:
        (base / "generation_config.json").write_text(json.dumps(generation))
    (saved / "config.json").write_text('{"eos_token_id": 1}')  # as verl writes it: the tokenizer's
    keep_generation_settings(base, saved)
    assert named_end_tokens(saved) == ends
    kept = saved / "generation_config.json"
    assert kept.exists() == (generation is not None or len(ends) > 1)
    if generation is not None:
        own = {} if 1 in named_end_tokens(base) else {"eos_token_id": list(ends)}
        assert json.loads(kept.read_text()) == {**generation, **own}


def test_a_template_with_todays_date_gives_the_same_prompt_on_every_day() -> None:
    assert chat_text(tokenizer(template=DATED), [("user", "Hi")]).startswith("Today Date: 01 Jan 2025")
