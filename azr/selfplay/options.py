"""The self-play configuration as the prompts and the parser want it."""

from __future__ import annotations

from azr.config.sandbox import Limits
from azr.config.selfplay import SelfPlayConfig
from azr.parsing import ParseRules
from azr.prompts import BANNED_ERROR_WORDS, BANNED_WORDS, PromptOptions


def banned_words(config: SelfPlayConfig) -> tuple[str, ...]:
    return BANNED_WORDS if config.banned_modules is None else tuple(config.banned_modules)


def prompt_options(config: SelfPlayConfig, timeout_s: float = Limits().cpu_s) -> PromptOptions:
    return PromptOptions(
        frame=config.frame,
        num_inputs=config.num_inputs,
        banned=banned_words(config),
        banned_error_words=BANNED_ERROR_WORDS,
        forbid_globals=config.strip_globals,
        forbid_test_input=config.reject_test_input,
        timeout_s=timeout_s,
        max_output_chars=config.max_output_chars,
    )


def parse_rules(config: SelfPlayConfig) -> ParseRules:
    return ParseRules(
        num_inputs=config.num_inputs,
        reject_multiple_functions=config.reject_multiple_functions,
        entry_point=config.entry_point,
        code_location=config.code_location,
        reject_test_input=config.reject_test_input,
        strip_comments=config.strip_comments,
        strip_globals=config.strip_globals,
        strip_prints=config.strip_prints,
    )
