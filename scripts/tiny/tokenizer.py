"""The tiny model's tokenizer: byte-level BPE whose pieces suit programs, states and the answer format.

The pre-tokenizer decides what may merge: tags and fences are one piece each, a word counts only together with the space,
line break with indent, bracket or dot before it, digits stay single, and letters inside quotes stay single (no quote begins
a piece), because a model that is to reverse a string must see its letters. No token is special but end and padding.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from tiny.dialogues import END
from tiny.programs import PARAMETERS, VARIABLES

PADDING = "<|pad|>"
PIECES = "|".join(
    (
        r"</?answer>\n?",
        r"</?think>",
        r"\n?```[a-z]+\n",
        r"\n```\n",
        r"\n```(?![a-z])",
        r"def [a-z_]+",
        r"(?:True|False|None)\b",
        r"(?<=\n)[a-z]+",
        r"\n *[A-Za-z_]+",
        r"[ (\[.{][A-Za-z_]+",
        r"[A-Za-z_]",
        r"\d",
        r"['\"]",
        r", (?![A-Za-z_])",
        r": (?![A-Za-z_])",
        r" [-+*/%=<>!|&]+ (?=[\d'\"\[({-])",
        r" [-+*/%=<>!|&]+",
        r"-(?=\d)",
        r",",
        r"(?:(?!</?[a-z])[^\sA-Za-z0-9_'\"`,-]|-(?!\d))+",
        r"`+",
        r"\n *",
        r" +",
    )
)

# Words of ordinary small programs, so that programs beyond the generator's tokenise well too.
WORDS = """and as assert break class continue def del elif else except for from if import in is lambda not or pass raise
return try while with yield True False None self cls print len range list dict set tuple str int float bool sum min max abs
sorted reversed enumerate zip map filter any all ord chr round divmod pow isinstance iter next hash repr type append extend insert
remove pop index count sort reverse copy clear keys values items get update setdefault add discard union intersection
difference issubset upper lower title strip lstrip rstrip split join replace find startswith endswith isdigit isalpha
isupper islower zfill format math itertools collections functools re string Counter defaultdict deque gcd sqrt floor ceil
number numbers digit digits letter letters char chars character characters sentence line lines row rows column matrix grid cell
node nodes edge edges graph tree left right root parent child children depth height width size length limit start stop step end
first last current previous following best score scores total average mean median mode lower_bound upper_bound low high mid
target source result results output outputs value key pair pairs element elements array stack queue heap prefix suffix
pattern match text word words name names item data temp state seen visited cache memo table entry record group groups flag found
even odd prime primes factor factors power base exponent remainder quotient bit bits mask shift left_part right_part window
merge partition swap compare transform encode decode compress expand shift_by rotate flatten chunk unique duplicates frequency
position offset distance weight price cost amount balance user users age city color the a an of to by each all every then with
without under over until while longer shorter larger smaller largest smallest add subtract multiply divide times modulo square
double halve negate sum product keep drop take remove append prepend reverse sort count find replace repeat join split
propose solve abduction deduction induction error message input output inputs function rule find""".split()


def extra_lines() -> Iterator[str]:
    """The words above in every surrounding in which programs write them."""
    for word in dict.fromkeys([*WORDS, *VARIABLES, *(name for names in PARAMETERS.values() for name in names)]):
        yield f"def f({word}):\n    {word} = {word}({word}[{word}.{word}])\n        {word} = 1\n            {word} += 1\n{word} {{{word}"


def train_tokenizer(texts: Iterable[str], vocabulary: int = 4096) -> PreTrainedTokenizerFast:
    """Learns the merges from dialogue texts and the list of words; the same texts give the same tokenizer."""

    def corpus() -> Iterator[str]:
        yield from texts
        for line in extra_lines():
            yield from (line, line)

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(PIECES), behavior="isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        min_frequency=2,
        special_tokens=[PADDING, END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END, pad_token=PADDING, model_max_length=1024, clean_up_tokenization_spaces=False
    )
