"""A tokenizer.json that transformers reads otherwise than it is written is refused; every good one passes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import AutoTokenizer

from azr.cli import run_command
from azr.config.load import load_config
from azr.errors import ModelError
from azr.evaluate.engine import EngineOptions, shape
from azr.evaluate.models import resolve
from azr.evaluate.speaker import speaker_of
from azr.evaluate.suite_run import engine_model
from azr.models.families import CHECKED
from azr.run.identity import write_identity
from azr.run.rundir import RunDir
from azr.train import tokenizer_check
from azr.train.base_model import identify
from azr.train.model_source import require_usable_model
from azr.train.tokenizer_check import name_the_class, require_same_tokens, require_same_tokens_early

PROJECT = Path(__file__).resolve().parents[2]
TINY = PROJECT / "data" / "models" / "azr-tiny"
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPECIAL = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]


@pytest.fixture
def resaved(tmp_path: Path) -> Path:
    """The bundled model as any tool leaves it that ends with ``tokenizer.save_pretrained``."""
    folder = tmp_path / "re-saved"
    shutil.copytree(TINY, folder)
    AutoTokenizer.from_pretrained(TINY).save_pretrained(folder)
    return folder


def by_split(expression: str) -> Any:
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(expression), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def by_digits() -> Any:
    return pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )


def byte_level(splitting: Any, normalizer: Any = None) -> Tokenizer:
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = splitting, decoders.ByteLevel()
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    return trained(tokenizer, pre_tokenizers.ByteLevel.alphabet(), [])


def by_pieces(splitting: Any, normalizer: Any) -> Tokenizer:
    """As SentencePiece models are converted: blanks become part of the words, bytes are the last resort."""
    tokenizer = Tokenizer(BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    if splitting is not None:
        tokenizer.pre_tokenizer = splitting
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    first = [decoders.Strip(" ", 1, 0)] if isinstance(normalizer, normalizers.Sequence) else []
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *first]
    )
    return trained(tokenizer, [], [f"<0x{number:02X}>" for number in range(256)])


def trained(tokenizer: Tokenizer, alphabet: list[str], more: list[str]) -> Tokenizer:
    trainer = BpeTrainer(
        vocab_size=1200, special_tokens=[*SPECIAL, *more], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train([str(PROJECT / "README.md"), str(PROJECT / "azr" / "tasks.py")], trainer)
    return tokenizer


def with_blanks_marked() -> Any:
    return normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])


def write(folder: Path, model_type: str, tokenizer_class: str | None, tokenizer: Tokenizer) -> None:
    folder.mkdir(exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text(
        json.dumps({"model_type": model_type, "architectures": [CHECKED[model_type]]})
    )
    settings = {
        "tokenizer_class": tokenizer_class,
        "eos_token": "</s>",
        "bos_token": "<s>",
        "unk_token": "<unk>",
    }
    (folder / "tokenizer_config.json").write_text(
        json.dumps({key: value for key, value in settings.items() if value})
    )


GOOD: dict[str, tuple[str, str | None, Callable[[], Tokenizer]]] = {
    "Qwen2": ("qwen2", "Qwen2Tokenizer", lambda: byte_level(by_split(SPLIT), normalizers.NFC())),
    "Qwen2, saved from the generic class": (
        "qwen2",
        "TokenizersBackend",
        lambda: byte_level(by_split(SPLIT), normalizers.NFC()),
    ),
    "Llama 3": ("llama", "PreTrainedTokenizerFast", lambda: byte_level(by_split(SPLIT))),
    "Llama 3, no class": ("llama", None, lambda: byte_level(by_split(SPLIT))),
    "SmolLM2": ("llama", "GPT2Tokenizer", lambda: byte_level(by_digits())),
    "StarCoder2": ("starcoder2", "GPT2Tokenizer", lambda: byte_level(by_digits())),
    "Llama 2": ("llama", "LlamaTokenizer", lambda: by_pieces(None, with_blanks_marked())),
    "Phi-3": ("phi3", "LlamaTokenizer", lambda: by_pieces(None, with_blanks_marked())),
    "Gemma 2": (
        "gemma2",
        "GemmaTokenizer",
        lambda: by_pieces(
            pre_tokenizers.Split(" ", "merged_with_previous"), normalizers.Replace(" ", "▁")
        ),
    ),
    "Cohere": ("cohere", "CohereTokenizerFast", lambda: byte_level(by_digits(), normalizers.NFC())),
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_good_tokenizers_pass(tmp_path: Path, name: str) -> None:
    model_type, tokenizer_class, make = GOOD[name]
    write(tmp_path, model_type, tokenizer_class, make())
    require_same_tokens(tmp_path)


def test_the_bundled_one_passes() -> None:
    require_same_tokens(TINY)


def test_without_tokenizer_json_it_has_to_be_one_that_transformers_can_build(tmp_path: Path) -> None:
    """Vocabulary and merges alone are enough for Qwen2, and for no model that names no family's class."""
    write(tmp_path, "qwen2", "Qwen2Tokenizer", byte_level(by_split(SPLIT), normalizers.NFC()))
    Tokenizer.from_file(str(tmp_path / "tokenizer.json")).model.save(str(tmp_path))
    (tmp_path / "tokenizer.json").unlink()
    require_same_tokens(tmp_path)
    require_same_tokens_early(tmp_path)

    tiny = tmp_path / "tiny"
    shutil.copytree(TINY, tiny)
    Tokenizer.from_file(str(tiny / "tokenizer.json")).model.save(str(tiny))
    (tiny / "tokenizer.json").unlink()
    for check in (require_same_tokens, require_same_tokens_early):
        with pytest.raises(
            ModelError, match=r"tiny: its tokenizer cannot be read \(.*use the tokenizer's files"
        ):
            check(tiny)


def test_padding_cutting_and_a_beginning_in_the_file_are_no_difference(tmp_path: Path) -> None:
    tokenizer = byte_level(by_split(SPLIT))
    tokenizer.enable_padding(length=64)
    tokenizer.enable_truncation(8)
    tokenizer.add_special_tokens([AddedToken("<tool>", lstrip=True, rstrip=True)])
    write(tmp_path, "llama", "PreTrainedTokenizerFast", tokenizer)
    require_same_tokens(tmp_path)


@pytest.mark.parametrize(
    ("model_type", "tokenizer_class", "splitting"),
    [
        ("qwen2", "TokenizersBackend", SPLIT.replace(r"\p{N}|", r"\p{N}{1,3}|")),
        ("qwen2", "LlamaTokenizerFast", SPLIT),
        ("llama", "LlamaTokenizerFast", SPLIT),
        ("olmo2", "GPT2Tokenizer", SPLIT),
    ],
)
def test_one_that_is_read_otherwise_is_refused_and_the_sentence_mends_it(
    tmp_path: Path, model_type: str, tokenizer_class: str, splitting: str
) -> None:
    write(tmp_path, model_type, tokenizer_class, byte_level(by_split(splitting)))
    with pytest.raises(ModelError) as error:
        require_same_tokens(tmp_path)
    sentence = str(error.value)
    assert "\n" not in sentence and str(tmp_path) in sentence and "PreTrainedTokenizerFast" in sentence
    name_the_class(tmp_path)  # what the sentence says
    named = [
        name
        for name in ("config.json", "tokenizer_config.json")
        if json.loads((tmp_path / name).read_text()).get("tokenizer_class") == "PreTrainedTokenizerFast"
    ]
    assert [f"into {name}" in sentence for name in named] == [True]
    require_same_tokens(tmp_path)


@pytest.mark.parametrize(
    ("normalizer", "told"),
    [
        (
            normalizers.Replace(Regex(r"\s+"), " "),
            "it makes 'def f(a, acc): a = a + 12345 return",
        ),  # SentencePiece's default
        (normalizers.Lowercase(), '"y": none}'),
        (None, "it makes 'defĠ"),
    ],
)
def test_one_that_loses_what_a_program_needs_is_refused(tmp_path: Path, normalizer: Any, told: str) -> None:
    """A run began, and stayed at 0 % valid proposals without a word."""
    tokenizer = byte_level(by_split(SPLIT), normalizer)
    if normalizer is None:
        tokenizer.decoder = decoders.Fuse()
    write(tmp_path, "llama", "PreTrainedTokenizerFast", tokenizer)
    with pytest.raises(ModelError, match="its tokenizer does not give back what it was given") as error:
        require_same_tokens(tmp_path)
    assert told in str(error.value)


@pytest.mark.parametrize("normalizer", [None, normalizers.Strip()])
def test_blanks_at_the_ends_are_no_loss(tmp_path: Path, normalizer: Any) -> None:
    """A good model was refused whose tokenizer puts one before the first word, as before all others."""
    tokenizer = byte_level(pre_tokenizers.ByteLevel(add_prefix_space=normalizer is None), normalizer)
    write(tmp_path, "llama", "PreTrainedTokenizerFast", tokenizer)
    read = AutoTokenizer.from_pretrained(tmp_path)
    assert read.encode("def") == read.encode(" def")
    require_same_tokens(tmp_path)


def test_one_that_splits_by_chance_is_refused(tmp_path: Path) -> None:
    """The advice was to take the tokenizer's files from the model that this one was made from, or a class to write."""
    folder = tmp_path / "snapshots" / "model"
    shutil.copytree(TINY, folder)
    values = json.loads((folder / "tokenizer.json").read_text())
    for dropout in (0.1, 0.0):
        values["model"]["dropout"] = dropout
        (folder / "tokenizer.json").write_text(json.dumps(values))
        for check in (require_same_tokens, require_same_tokens_early) if dropout else ():
            with pytest.raises(
                ModelError,
                match=r'has "dropout": 0\.1, .* in a copy of the folder, write "dropout": null there',
            ):
                check(folder)
    require_same_tokens(folder)


def test_a_run_does_not_begin_with_one(resaved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = ["recipe=cpu_tiny", f"model.path={resaved}", "name=x", f"runs_dir={resaved.parent}"]
    assert run_command("preflight", settings) == 2
    said = capsys.readouterr().err
    assert "remove tokenizer_class from tokenizer_config.json" in said and len(said.splitlines()) == 1
    name_the_class(resaved)
    require_usable_model(load_config(settings).config)


def test_a_run_that_another_program_began_does_not_go_on_with_one(resaved: Path, tmp_path: Path) -> None:
    from azr.config.load import to_yaml
    from azr.train.verl.runner import checked_verl_config

    run = RunDir(tmp_path / "run")
    run.root.mkdir()
    config = load_config(["recipe=cpu_tiny", f"model.path={resaved}"]).config
    run.config.write_text(to_yaml(config))
    write_identity(run, identify(config), resaved)
    with pytest.raises(ModelError, match=r"does not read tokenizer\.json as it is written"):
        checked_verl_config(run, "cpu")


def test_an_evaluation_does_not_begin_with_one(resaved: Path) -> None:
    with (
        pytest.raises(ModelError, match=r"does not read tokenizer\.json as it is written"),
        engine_model(resolve(str(resaved))),
    ):
        pass


def test_a_child_that_cannot_tell_refuses_nothing(resaved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizer_check, "_CHILD_LIMIT_S", 0.01)
    require_same_tokens_early(resaved)
    monkeypatch.setattr(tokenizer_check.sys, "executable", "/nowhere/python")
    require_same_tokens_early(resaved)


def test_a_tokenizer_of_other_content_does_not_end_an_evaluation_in_a_traceback(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(PROJECT / "data/models/azr-tiny", folder)
    for content in ('{"model": {}}', '{"model": {}, "added_tokens": []}'):
        (folder / "tokenizer.json").write_text(content)
        with pytest.raises(ModelError, match="its tokenizer cannot be read"):
            speaker_of(folder)
    shutil.copy(PROJECT / "data/models/azr-tiny/tokenizer.json", folder)
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(settings | {"dtype": "auto"}))
    with pytest.raises(ModelError, match=r"module 'torch' has no attribute 'auto'\); check its config"):
        shape(folder, EngineOptions())


def test_a_tokenizer_that_cannot_be_read_is_a_sentence(tmp_path: Path) -> None:
    write(tmp_path, "llama", "PreTrainedTokenizerFast", byte_level(by_split(SPLIT)))
    (tmp_path / "tokenizer.json").write_text('{"model": {}}')
    with pytest.raises(ModelError, match=r"tokenizer\.json cannot be read"):
        require_same_tokens(tmp_path)
    with pytest.raises(ModelError, match=r"tokenizer\.json cannot be read"):
        require_same_tokens_early(tmp_path)
