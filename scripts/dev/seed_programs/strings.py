"""Seeds over text: scanning, windows, alignment, rewriting."""

from seed_programs import program

PROGRAMS = [
    program(
        "How many equal letters stand side by side?",
        r"""
def f(text):
    parts = []
    i = 0
    while i < len(text):
        j = i
        while j < len(text) and text[j] == text[i]:
            j += 1
        run = j - i
        parts.append(text[i] if run == 1 else f"{run}{text[i]}")
        i = j
    return "".join(parts)
""",
        r"""
"aaabccdddd"
"abc"
""
"zzzzzzzzzzzz"
"aabbaabb"
"x"
"mississippi"
"  !!"
"booookkkkeeper"
"wWwWW"
""",
    ),
    program(
        "The longest stretch of the text in which no character appears twice; the earliest one if several tie.",
        r"""
def f(text):
    last_seen = {}
    start = 0
    best = (0, 0)
    for position, letter in enumerate(text):
        if letter in last_seen and last_seen[letter] >= start:
            start = last_seen[letter] + 1
        last_seen[letter] = position
        if position + 1 - start > best[1] - best[0]:
            best = (start, position + 1)
    return text[best[0]:best[1]]
""",
        r"""
"abcabcbb"
"bbbbb"
"pwwkew"
""
"dvdfkj"
"anviaj"
"tmmzuxt"
"abba"
"programming contest"
"0123401256789"
""",
    ),
    program(
        "Imagine writing the message along the rails of a fence, going down and up, and then reading rail by rail.",
        r"""
def f(message, rails):
    if rails < 2:
        return message
    rows = ["" for _ in range(rails)]
    row, direction = 0, 1
    for letter in message:
        rows[row] += letter
        if row + direction not in range(rails):
            direction = -direction
        row += direction
    return "|".join(rows)
""",
        r"""
"WEAREDISCOVERED", 3
"hello", 2
"abcdefgh", 4
"x", 5
"railfence", 1
"attack at dawn", 3
"0123456789", 5
"", 2
"zigzag", 6
"meet me tonight", 2
""",
    ),
    program(
        "A letter moves along the alphabet by an amount that depends on a keyword; anything else stays, and does not use up the keyword.",
        r"""
def f(text, key):
    shifts = [ord(letter) - ord("a") for letter in key]
    used = 0
    result = ""
    for letter in text:
        if letter.isalpha() and letter.islower():
            shifted = (ord(letter) - ord("a") + shifts[used % len(shifts)]) % 26
            result += chr(ord("a") + shifted)
            used += 1
        else:
            result += letter
    return result
""",
        r"""
"attack at dawn", "lemon"
"hello", "b"
"xyz", "abc"
"", "key"
"Mixed Case stays", "ab"
"zebra zoo", "zz"
"1 + 1 = two", "d"
"the quick brown fox", "cipher"
"aaaaaaa", "abcdefg"
"no-op", "a"
""",
    ),
    program(
        "Words of one sentence, each treated according to how long it is.",
        r"""
def f(sentence):
    words = sentence.split()
    changed = []
    for word in words:
        if len(word) <= 2:
            changed.append(word.upper())
        elif len(word) % 2 == 0:
            middle = len(word) // 2
            changed.append(word[middle:] + word[:middle])
        else:
            changed.append(word[::-1])
    return " ".join(changed)
""",
        r"""
"to be or not to be"
"Absolute zero reasoner"
""
"one three five seven"
"  spaced   out  words "
"a"
"ab abc abcd abcde"
"level rotor noon"
"I am 42 years old"
"tick tock goes the clock"
""",
    ),
    program(
        "Fewest single-character edits (insert, delete, replace) between two words.",
        r"""
def f(left, right):
    previous = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        current = [i]
        for j, b in enumerate(right, 1):
            replace = previous[j - 1] + (a != b)
            current.append(min(previous[j] + 1, current[j - 1] + 1, replace))
        previous = current
    return previous[-1]
""",
        r"""
"kitten", "sitting"
"flaw", "lawn"
"", "abc"
"same", "same"
"intention", "execution"
"a", ""
"gumbo", "gambol"
"saturday", "sunday"
"abcdef", "fedcba"
"python", "typhoon"
""",
    ),
    program(
        "Every place where the pattern begins in the text, overlapping ones too. Someone prepared a table about the pattern first.",
        r"""
def f(text, pattern):
    fallback = [0] * len(pattern)
    k = 0
    for i in range(1, len(pattern)):
        while k and pattern[i] != pattern[k]:
            k = fallback[k - 1]
        if pattern[i] == pattern[k]:
            k += 1
        fallback[i] = k
    found, k = [], 0
    for i, letter in enumerate(text):
        while k and (k == len(pattern) or letter != pattern[k]):
            k = fallback[k - 1]
        if letter == pattern[k]:
            k += 1
        if k == len(pattern):
            found.append(i - k + 1)
    return found, fallback
""",
        r"""
"ababcabababd", "abab"
"aaaaa", "aa"
"hello world", "o"
"abc", "d"
"abracadabra", "abra"
"", "xy"
"mississippi", "issi"
"banana bandana", "ana"
"0101010", "0101"
"needle", "needle"
""",
    ),
    program(
        "A phrase goes in, an abbreviation with the number of dropped letters comes out.",
        r"""
def f(phrase, keep):
    small = {"of", "the", "and", "a", "in", "for"}
    initials = ""
    dropped = 0
    for word in phrase.replace("-", " ").split():
        if word.lower() in small and initials:
            dropped += len(word)
            continue
        initials += word[:keep].upper()
        dropped += max(0, len(word) - keep)
    return f"{initials}/{dropped}"
""",
        r"""
"portable network graphics", 1
"The Lord of the Rings", 1
"self-contained underwater breathing apparatus", 1
"", 2
"a", 1
"random access memory", 2
"for the win", 1
"light amplification by stimulated emission", 1
"do it yourself", 3
"in-and-out", 2
""",
    ),
    program(
        "Letters are sorted by how often they occur; among equals the one that came first stays first.",
        r"""
def f(text):
    counts = {}
    for letter in text.lower():
        if letter.isalnum():
            counts[letter] = counts.get(letter, 0) + 1
    ranking = sorted(counts, key=lambda letter: -counts[letter])
    return [(letter, counts[letter]) for letter in ranking[:4]]
""",
        r"""
"Tree house"
"aAbBcC"
""
"the rain in Spain stays mainly"
"1122333"
"!?."
"zyx"
"Programming Puzzles"
"hello hello"
"A man a plan a canal Panama"
""",
    ),
    program(
        "Brackets in the text: what is the deepest nesting, and where does it first go wrong (-1 if it never does)?",
        r"""
def f(text):
    partner = {")": "(", "]": "[", "}": "{"}
    stack = []
    deepest = 0
    for position, letter in enumerate(text):
        if letter in "([{":
            stack.append((letter, position))
            deepest = max(deepest, len(stack))
        elif letter in partner:
            if not stack or stack[-1][0] != partner[letter]:
                return deepest, position
            stack.pop()
    return deepest, stack[-1][1] if stack else -1
""",
        r"""
"{[()]}"
"(]"
""
"((()"
"f(a[1], {2: (3)})"
")("
"no brackets"
"[[[[]]]]"
"(()())(()"
"{[}]"
""",
    ),
    program(
        "Two texts are dealt together like cards; a leftover tail is turned around.",
        r"""
def f(first, second):
    mixed = []
    shorter = min(len(first), len(second))
    for i in range(shorter):
        pair = first[i] + second[i]
        mixed.append(pair if i % 2 == 0 else pair[::-1])
    tail = first[shorter:] or second[shorter:]
    return "".join(mixed) + tail[::-1]
""",
        r"""
"abcd", "wxyz"
"abc", "1234567"
"", "tail"
"longer text", "abc"
"same", "same"
"", ""
"a", "b"
"12", "ab"
"north", "south-west"
"xoxo", "OXO"
""",
    ),
    program(
        "A snake-like name and a camel-like name are two ways to write the same; the function turns one kind into the other.",
        r"""
def f(name):
    if "_" in name:
        head, *rest = [piece for piece in name.split("_") if piece]
        return head.lower() + "".join(piece.capitalize() for piece in rest)
    words = [""]
    for letter in name:
        if letter.isupper() and words[-1]:
            words.append(letter.lower())
        else:
            words[-1] += letter.lower()
    return "_".join(words)
""",
        r"""
"parse_http_header"
"maxRetryCount"
"__private_value"
"simple"
"HTMLPage"
"user_id_2"
"snake_Case_Mixed"
"x"
"getX"
"a_b_c"
""",
    ),
    program(
        "The longest mirror-like piece of the text, found by growing outward from each centre.",
        r"""
def f(text):
    def grow(left, right):
        while left >= 0 and right < len(text) and text[left] == text[right]:
            left -= 1
            right += 1
        return text[left + 1:right]

    best = ""
    for centre in range(len(text)):
        for piece in (grow(centre, centre), grow(centre, centre + 1)):
            if len(piece) > len(best):
                best = piece
    return best
""",
        r"""
"babad"
"cbbd"
""
"forgeeksskeegfor"
"abacdfgdcaba"
"racecar driver"
"xyz"
"aaaa"
"never odd or even"
"12321 vs 4554"
""",
    ),
    program(
        "A text is folded into lines no wider than the limit, then each line is padded on alternating sides.",
        r"""
def f(text, width):
    lines = [""]
    for word in text.split():
        candidate = (lines[-1] + " " + word).strip()
        if len(candidate) <= width or not lines[-1]:
            lines[-1] = candidate
        else:
            lines.append(word)
    return [line.ljust(width, ".") if i % 2 == 0 else line.rjust(width, ".") for i, line in enumerate(lines)]
""",
        r"""
"the quick brown fox jumps over the lazy dog", 12
"short", 10
"", 3
"extraordinarily long", 8
"a b c d e f g", 3
"to be or not to be", 6
"one", 3
"wrap this text at twenty columns please", 20
"aa bb cc dd", 5
"x  y   z", 4
""",
    ),
    program(
        "Text is compared as people would: digits inside count as numbers.",
        r"""
import re


def f(names):
    def key(name):
        pieces = re.findall(r"\d+|\D+", name.lower())
        return [(0, int(piece), "") if piece.isdigit() else (1, 0, piece) for piece in pieces]

    return sorted(names, key=key)
""",
        r"""
["file10", "file2", "File1"]
["b", "a", "C"]
[]
["v1.10", "v1.9", "v1.09"]
["x100y", "x20z", "x20a"]
["3 apples", "12 pears", "apples"]
["a1b2", "a1b10", "a01b3"]
["chapter 7", "Chapter 11", "chapter"]
["007", "7", "08"]
["img12.png", "img10.png", "IMG2.png", "img1.png"]
""",
    ),
    program(
        "The letters that all words share, as often as they share them.",
        r"""
from collections import Counter


def f(words):
    if not words:
        return ""
    common = Counter(words[0])
    for word in words[1:]:
        common &= Counter(word)
    return "".join(sorted(common.elements()))
""",
        r"""
["bella", "label", "roller"]
["cool", "lock", "cook"]
[]
["abc"]
["abc", "def"]
["mississippi", "missouri"]
["aab", "baa", "aba"]
["stone", "notes", "onset", "seton"]
["", "x"]
["banana", "bandana", "cabana"]
""",
    ),
    program(
        "Pig-Latin-like play with words: where does the first vowel stand?",
        r"""
def f(sentence):
    result = []
    for word in sentence.lower().split():
        cut = next((i for i, letter in enumerate(word) if letter in "aeiou"), len(word))
        if cut == 0:
            result.append(word + "way")
        elif cut == len(word):
            result.append(word)
        else:
            result.append(word[cut:] + word[:cut] + "ay")
    return " ".join(result)
""",
        r"""
"string theory"
"apple"
"rhythm and blues"
""
"quick brown fox"
"Hello World"
"my egg"
"why not"
"scratch old sphinx"
"I eat pie"
""",
    ),
    program(
        "A letter is replaced by the name of its neighbours' relation: rising, falling or level.",
        r"""
def f(text):
    shape = ""
    for left, right in zip(text, text[1:]):
        if left < right:
            shape += "/"
        elif left > right:
            shape += "\\"
        else:
            shape += "_"
    peaks = shape.count("/\\")
    valleys = shape.count("\\/")
    return shape, peaks, valleys
""",
        r"""
"adbbz"
"abcde"
"a"
"zyxw"
"banana"
"hello"
"mountain"
"aabbaa"
"9182736"
"loop"
""",
    ),
    program(
        "Roman numerals in, an ordinary number out, then the same again with one added.",
        r"""
def f(roman):
    worth = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}
    total = 0
    for here, following in zip(roman, roman[1:] + "I"):
        total += -worth[here] if worth[here] < worth[following] else worth[here]
    pairs = [(1000, "M"), (900, "CM"), (500, "D"), (400, "CD"), (100, "C"), (90, "XC"), (50, "L")]
    pairs += [(40, "XL"), (10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I")]
    rest, text = total + 1, ""
    for value, letters in pairs:
        text += letters * (rest // value)
        rest %= value
    return total, text
""",
        r"""
"MCMXCIV"
"III"
"XLVIII"
"IX"
"LVIII"
"CDXLIV"
"MMXXIV"
"XCIX"
"DCCCXC"
"V"
""",
    ),
    program(
        "Is one text a rotation of the other, and by how many places?",
        r"""
def f(original, turned):
    if len(original) != len(turned):
        return "different lengths"
    place = (original + original).find(turned)
    if place < 0:
        return sorted(set(original) ^ set(turned)) or "same letters"
    return place
""",
        r"""
"waterbottle", "bottlewater"
"abc", "acb"
"abc", "abcd"
"", ""
"aaab", "abaa"
"hello", "world"
"rotation", "tionrota"
"12345", "51234"
"listen", "silent"
"abab", "baba"
""",
    ),
    program(
        "Words become telephone digits; how many words share the most crowded number?",
        r"""
from collections import defaultdict


def f(words):
    groups = ["abc", "def", "ghi", "jkl", "mno", "pqrs", "tuv", "wxyz"]
    digit = {letter: str(i) for i, group in enumerate(groups, 2) for letter in group}
    numbers = defaultdict(list)
    for word in words:
        numbers["".join(digit.get(letter, "?") for letter in word.lower())].append(word)
    crowded = max(numbers, key=lambda number: (len(numbers[number]), number), default="")
    return crowded, numbers[crowded]
""",
        r"""
["good", "home", "gone", "hello"]
["act", "bat", "cat", "dog"]
[]
["Python"]
["a1", "b2"]
["book", "cool", "door"]
["kiss", "lips", "mouth"]
["select", "reject", "elect"]
["no", "on", "mo", "nm"]
["pint", "shot", "Riot"]
""",
    ),
    program(
        "Some letters are hidden behind stars. Which words could stand there?",
        r"""
def f(pattern, words):
    def fits(word):
        if len(word) != len(pattern):
            return False
        shown = set(pattern) - {"*"}
        for mask, letter in zip(pattern, word):
            if mask == "*" and letter in shown:
                return False
            if mask != "*" and mask != letter:
                return False
        return True

    return [word for word in words if fits(word)]
""",
        r"""
"c*t", ["cat", "cut", "cot", "cct", "coat"]
"***", ["one", "three", "six"]
"a**a", ["anna", "aqua", "alfa", "area", "data"]
"", ["", "x"]
"s*ss*", ["sissy", "sassy", "fussy", "sessl"]
"*oo*", ["book", "door", "oooo", "pool", "moon"]
"dog", ["dog", "dig"]
"*a*a*a", ["banana", "canada", "pajama", "panama"]
"t***", ["tree", "that", "toad", "team"]
"h*ll*", ["hello", "hills", "halls", "hullo", "hall"]
""",
    ),
    program(
        "Each sentence of the text is reported by its number of words and its closing mark.",
        r"""
def f(text):
    report = []
    words, inside = 0, False
    for letter in text:
        if letter in ".!?":
            words += inside
            if words:
                report.append((words, letter))
            words, inside = 0, False
        elif letter.isspace():
            words += inside
            inside = False
        else:
            inside = True
    return report, words + inside
""",
        r"""
"Hello there. How are you? Fine!"
"no mark at the end"
""
"Wait... what?!"
"One. Two words. And three words."
"   leading spaces. trailing   "
"Stop!"
"a b c d e"
"Is it 3.14? Yes, it is."
"Line one.\nLine two goes on"
""",
    ),
    program(
        "A secret knocking: each letter is a row and a column of a five by five square.",
        r"""
def f(message, decode):
    square = "abcdefghijlmnopqrstuvwxyz"
    if decode:
        numbers = [len(knock) for knock in message.split()]
        pairs = zip(numbers[::2], numbers[1::2])
        return "".join(square[(row - 1) * 5 + column - 1] for row, column in pairs)
    knocks = []
    for letter in message.lower().replace("k", "c"):
        if letter in square:
            row, column = divmod(square.index(letter), 5)
            knocks += ["." * (row + 1), "." * (column + 1)]
    return " ".join(knocks)
""",
        r"""
"hi", False
".. ... ... ....", True
"", False
". . .... ....", True
"key", False
"A-z", False
"..... .....", True
"tap", False
". ... . . .... ....", True
"water!", False
""",
    ),
    program(
        "Which characters must be added so that the text reads the same in both directions, and at which end?",
        r"""
def f(text):
    for size in range(len(text), -1, -1):
        if text[:size] == text[:size][::-1]:
            front = text[size:][::-1]
            break
    for size in range(len(text), -1, -1):
        tail = text[len(text) - size:]
        if tail == tail[::-1]:
            back = text[:len(text) - size][::-1]
            break
    if len(front) <= len(back):
        return "front", front + text
    return "back", text + back
""",
        r"""
"aacecaaa"
"abcd"
""
"noon"
"abcc"
"google"
"ten"
"race"
"xxyx"
"12344"
""",
    ),
    program(
        "Texts are drawn from a common beginning: what do they all start with, and what differs afterwards?",
        r"""
def f(words):
    if not words:
        return ("", [])
    low, high = min(words), max(words)
    size = 0
    while size < len(low) and size < len(high) and low[size] == high[size]:
        size += 1
    endings = sorted({word[size:] for word in words}, key=lambda ending: (len(ending), ending))
    return (low[:size], endings)
""",
        r"""
["interview", "internet", "interval"]
["flower", "flow", "flight"]
[]
["dog", "racecar"]
["same", "same"]
["a"]
["test", "testing", "tested", "tester"]
["", "b"]
["prefix", "preset", "prelude", "press"]
["2024-01-05", "2024-01-17", "2024-02-01"]
""",
    ),
    program(
        "Count how many different arrangements of the letters there are, and name the one that comes right after in the dictionary.",
        r"""
from math import factorial


def f(word):
    letters = list(word)
    ways = factorial(len(letters))
    for letter in set(letters):
        ways //= factorial(letters.count(letter))
    pivot = len(letters) - 2
    while pivot >= 0 and letters[pivot] >= letters[pivot + 1]:
        pivot -= 1
    if pivot < 0:
        return ways, "".join(sorted(letters))
    swap = max(i for i in range(pivot + 1, len(letters)) if letters[i] > letters[pivot])
    letters[pivot], letters[swap] = letters[swap], letters[pivot]
    letters[pivot + 1:] = reversed(letters[pivot + 1:])
    return ways, "".join(letters)
""",
        r"""
"baca"
"abc"
"cba"
""
"hefg"
"dkhc"
"aab"
"zzz"
"banana"
"1432"
""",
    ),
]
