"""Reading what a model wrote: think and answer tags, fenced blocks, proposals, solutions.

Nothing here raises on any text and nothing executes. What cannot be read is a ``Rejection`` whose ``reason``
is one of ``REASONS`` (counted in the metrics as ``data/rejected/<reason>``).
"""

from azr.parsing.proposal import parse_proposal
from azr.parsing.response import Block, Response, fenced_blocks, marks_in_strings, split_response
from azr.parsing.solution import is_value, parse_solution

REASONS = {
    "no_answer": "the response has no answer tag, or nothing in it",
    "no_code_block": "no block labelled python (or without a label)",
    "no_input_block": "no block labelled input",
    "empty_input": "the input block is empty",
    "too_few_inputs": "fewer input blocks than an induction task needs",
    "no_message": "an induction proposal without a message",
    "program_too_long": "the program has too many characters",
    "program_too_nested": "the program is nested too deeply",
    "syntax_error": "the program does not parse",
    "no_function": "no function at the top level",
    "multiple_functions": "more than one function at the top level",
    "name_conflict": "the entry function cannot be renamed to f because f means something else",
    "test_input_in_code": "the program holds its test input",
}
"""Reason codes of this package, with their meanings."""

__all__ = [
    "REASONS",
    "Block",
    "Response",
    "fenced_blocks",
    "is_value",
    "marks_in_strings",
    "parse_proposal",
    "parse_solution",
    "split_response",
]
