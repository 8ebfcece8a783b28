"""Worked examples for induction proposals: complete answers for programs that no run proposes about.

A small model asked for ten input blocks writes one or two and stops; one complete answer in the
prompt shows it what is meant. The example is about another program, so it cannot be handed in: its inputs do
not count and its message is refused (``azr.selfplay.usable_inputs``).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class WorkedExample:
    program: str
    thought: str
    inputs: tuple[str, ...]
    """In an order in which the first few show as much as possible already."""
    message: str


INDUCTION_EXAMPLES = (
    WorkedExample(
        program="""\
def f(words, limit):
    short = [word for word in words if len(word) <= limit]
    short.sort(key=lambda word: (len(word), word))
    return '-'.join(short)""",
        thought="Words below, at and above the limit, equal lengths, nothing that is left, an empty list.",
        inputs=(
            "['pear', 'fig', 'banana'], 4",
            "['kiwi', 'date', 'plum'], 4",
            "['apple', 'melon'], 3",
            "[], 5",
            "['b', 'a', 'cc', 'aa'], 1",
            "['zoo', 'Zoo', 'oz'], 3",
            "['one', 'three', 'seven', 'ten'], 5",
            "['x'], 0",
            "['', 'a', 'bb'], 2",
            "['green', 'red', 'blue', 'red'], 4",
            "['long', 'longer', 'longest'], 6",
            "['p', 'pp', 'ppp', 'pppp'], 3",
        ),
        message="Only some of the words survive, in an order that is not merely alphabetical. What decides, and how are they joined?",
    ),
    WorkedExample(
        program="""\
def f(numbers, k):
    total = 0
    for index, number in enumerate(numbers):
        if index % k == 0:
            total += number
        elif number < 0:
            total -= number
    return total""",
        thought="Several step widths, negative numbers at both kinds of places, zeros, a single number, none at all.",
        inputs=(
            "[4, 7, 1, 9, 2], 2",
            "[-3, -8, 5, -1], 2",
            "[10, -4, 6, 3, -2, 8], 3",
            "[], 1",
            "[5], 4",
            "[1, 2, 3, 4], 1",
            "[-1, -1, -1], 1",
            "[0, -6, 0, -6], 2",
            "[100, 1, 1, 1, 50], 4",
            "[2, -2, 2, -2, 2], 5",
            "[-9, 3, -9, 3], 3",
            "[7, 0, -7], 2",
        ),
        message="Some places of the list count in full, the others only if something is the matter with them. Which places depends on k.",
    ),
    WorkedExample(
        program="""\
def f(text):
    counts = {}
    for letter in text.lower():
        if letter.isalpha():
            counts[letter] = counts.get(letter, 0) + 1
    return {letter: count for letter, count in counts.items() if count > 1}""",
        thought="Repeated letters in mixed case, no repetition, only punctuation, digits that must not count, an empty text.",
        inputs=(
            "'Mississippi'",
            "'Hello, World!'",
            "'abc'",
            "'a1b2a1b2'",
            "''",
            "'Noon at noon'",
            "'!!!???'",
            "'AaBbCc'",
            "'the quick brown fox'",
            "'zz top'",
            "'112233'",
            "'Level'",
        ),
        message="A summary of the text that leaves out everything that occurs once. Mind what counts as the same, and what does not count.",
    ),
)
