"""Probes over text."""

from seed_programs import program

PROGRAMS = [
    program(
        "Vowels are loud.",
        r"""
def f(text):
    return "".join(letter.upper() if letter in "aeiou" else letter.lower() for letter in text)
""",
        r"""
"Hello World"
"RHYTHM"
"queue"
"AbCdEfG"
"banana split"
"x1y2z3"
"Sequoia"
"try"
"IOU a TEA"
"umbrella"
""",
        "easy",
    ),
    program(
        "The text with its middle cut out and put in brackets behind.",
        r"""
def f(text):
    third = len(text) // 3
    middle = text[third:len(text) - third]
    return text[:third] + text[len(text) - third:] + "(" + middle + ")"
""",
        r"""
"abcdefghi"
"hello"
"ab"
"xylophone!"
"sandwich"
"1234567"
"a"
"top secret"
"kayak"
"onetwothree"
""",
        "easy",
    ),
    program(
        "How many words are longer than the word before them?",
        r"""
def f(sentence):
    words = sentence.split(" ")
    longer = 0
    for i in range(1, len(words)):
        if len(words[i]) > len(words[i - 1]):
            longer += 1
    return longer, words[-1]
""",
        r"""
"a bb ccc dd eeee"
"one"
"the quick brown fox jumps"
"we are the champions"
"is this it"
"long short tiny big"
"up and down and around"
"x y z"
"no pain no gain"
"I think therefore I am"
""",
        "easy",
    ),
    program(
        "Everything between the first and the last comma, with the commas replaced.",
        r"""
def f(text, mark):
    first = text.find(",")
    last = text.rfind(",")
    if first == last:
        return mark + text
    return text[first + 1:last].replace(",", mark)
""",
        r"""
"a,b,c,d", "+"
"no comma", "-"
"one,two", "*"
"x,,y", "/"
"red,green,blue", "|"
",start,end,", "."
"1,2,3,4,5,6", "; "
"tea, milk, sugar, cup", "&"
"p,q,r", ""
"only one, here", "!"
""",
        "easy",
    ),
    program(
        "Letters are told apart from digits; the digits are added.",
        r"""
def f(text):
    total = 0
    rest = ""
    for letter in text:
        if letter.isdigit():
            total += int(letter)
        else:
            rest = letter + rest
    return rest + str(total)
""",
        r"""
"a1b2c3"
"hello"
"2024"
"route 66"
"x9y"
"7 dwarfs"
"b4 u go 2"
"99 balloons"
"pi is 3.14"
"A1"
""",
        "easy",
    ),
    program(
        "A ruler: marks at regular distances, made from characters of the text.",
        r"""
def f(text, step):
    marks = text[::step]
    between = [text[i] for i in range(len(text)) if i % step != 0]
    return f"{marks}:{len(between)}:{''.join(sorted(between))}"
""",
        r"""
"alphabet", 3
"hello", 2
"programming", 4
"zyxwvu", 2
"mississippi", 5
"a", 2
"keyboard", 1
"0123456789", 3
"sunflower", 4
"pumpkin pie", 2
""",
        "easy",
    ),
    program(
        "The text is repeated like an echo that gets shorter.",
        r"""
def f(word, times):
    parts = []
    for i in range(times):
        parts.append(word[i:])
    return "-".join(part for part in parts if part)
""",
        r"""
"echo", 3
"hi", 5
"mountain", 4
"a", 1
"valley", 2
"cave", 0
"yodel", 5
"sound", 3
"abc", 2
"loop", 6
""",
        "easy",
    ),
    program(
        "Letters fall into a bag for the left or the right hand of a typist; how often does the hand change?",
        r"""
def f(text):
    left = set("qwertasdfgzxcvb")
    hands = ["L" if letter in left else "R" for letter in text.lower() if letter.isalpha()]
    changes = 0
    for i in range(1, len(hands)):
        if hands[i] != hands[i - 1]:
            changes += 1
    longest = max("".join(hands).replace("LR", "L R").replace("RL", "R L").split(), key=len, default="")
    return changes, longest
""",
        r"""
"Hello world"
"stewardesses"
"lollipop"
"typewriter"
"monkey"
"banana"
"The end."
"keyboard"
"puzzle box"
"afternoon tea"
""",
        "medium",
    ),
    program(
        "Each word is looked at from both ends: equal letters at the ends are peeled off.",
        r"""
def f(sentence):
    result = []
    for word in sentence.lower().split():
        peeled = 0
        while len(word) > 1 and word[0] == word[-1]:
            word = word[1:-1]
            peeled += 1
        result.append(word + "'" * peeled)
    return " ".join(result)
""",
        r"""
"Level radar stats words"
"noon"
"abba plays"
"A man a plan"
"taco cat tacocat"
"test text tenet"
"rotator engine"
"aaaa aaa aa a"
"civic duty"
"Never odd or even"
""",
        "medium",
    ),
    program(
        "A simple shift code whose amount grows with each word.",
        r"""
def f(text, start):
    coded = []
    for number, word in enumerate(text.split()):
        shift = start + number
        letters = ""
        for letter in word:
            if letter.isupper():
                letters += chr((ord(letter) - 65 + shift) % 26 + 65)
            elif letter.islower():
                letters += chr((ord(letter) - 97 - shift) % 26 + 97)
            else:
                letters += letter
        coded.append(letters)
    return " ".join(coded)
""",
        r"""
"Hello Big World", 1
"abc abc abc", 0
"XYZ xyz", 3
"Stay calm, Bob!", 13
"a b c d", 2
"Zero 0 Zero", 25
"Go", 5
"mixed CASE Words", 4
"one two", 26
"The End", 7
""",
        "medium",
    ),
    program(
        "Seats in a text file: the longest line, the most common first letter, and empty lines are reported.",
        r"""
def f(text):
    lines = text.split("\n")
    empty = sum(not line.strip() for line in lines)
    longest = max(range(len(lines)), key=lambda i: len(lines[i]))
    firsts = [line.strip()[0].lower() for line in lines if line.strip()]
    common = max(sorted(set(firsts)), key=firsts.count) if firsts else ""
    return {"empty": empty, "longest": longest + 1, "common": common, "starts": len(set(firsts))}
""",
        r"""
"apple\nbanana\n\navocado"
"one line"
"\n\n"
"Bob\nann\nAda\nbea"
"x\nyy\nzzz\n"
"the cat\nthe dog\na bird"
"  indent\nIdle\nice"
"q\n\nq\n\nq"
"long long line here\nshort\nlonger than short"
"b\na\nb\na"
""",
        "medium",
    ),
    program(
        "Where do the two words of a crossword share a letter? The crossing nearest to both beginnings wins.",
        r"""
def f(across, down):
    best = None
    for i, a in enumerate(across):
        for j, b in enumerate(down):
            if a == b and (best is None or i + j < best[0] + best[1]):
                best = (i, j)
    if best is None:
        return []
    rows = []
    for j, letter in enumerate(down):
        rows.append(across if j == best[1] else "." * best[0] + letter + "." * (len(across) - best[0] - 1))
    return rows
""",
        r"""
"table", "able"
"cross", "word"
"sun", "moon"
"abc", "xyz"
"python", "night"
"tea", "eat"
"garden", "rose"
"ox", "axe"
"level", "lever"
"stone", "nest"
""",
        "medium",
    ),
    program(
        "A limerick counter: syllables are groups of vowels, a silent e at the end does not count.",
        r"""
def f(line):
    counts = []
    for word in line.lower().split():
        word = "".join(letter for letter in word if letter.isalpha())
        groups = 0
        inside = False
        for letter in word:
            vowel = letter in "aeiouy"
            if vowel and not inside:
                groups += 1
            inside = vowel
        if groups > 1 and word.endswith("e") and not word.endswith("le"):
            groups -= 1
        counts.append(max(groups, 1) if word else 0)
    return sum(counts), counts
""",
        r"""
"There once was a table made of stone"
"The apple fell"
"queue up, please!"
"a e i o u"
"rhythm and blues"
"One little candle, three bottles"
"beautiful creature"
"Why me?"
"-- 42 --"
"Nineteen purple people"
""",
        "medium",
    ),
    program(
        "The text is written into columns and read row by row, columns taken in the alphabetical order of a key.",
        r"""
def f(text, key):
    text = text.replace(" ", "")
    columns = {}
    for i, letter in enumerate(text):
        columns.setdefault(i % len(key), []).append(letter)
    order = sorted(range(len(key)), key=lambda i: (key[i], i))
    pieces = ["".join(columns.get(i, [])) for i in order]
    return " ".join(pieces), order
""",
        r"""
"we are discovered flee at once", "zebra"
"hello", "ba"
"attack", "key"
"abc", "long"
"one two three four", "aab"
"", "x"
"secret message here", "code"
"0123456789", "cab"
"defend the east wall", "german"
"xyzzy", "a"
""",
        "medium",
    ),
    program(
        "Bees in the text: words are sorted into hives by their first letter, and a hive swarms when it has grown too big.",
        r"""
def f(text, size):
    hives, swarms = {}, []
    for word in text.split():
        hive = hives.setdefault(word[0], [])
        hive.append(word)
        if len(hive) > size:
            swarms.append(word[0] + str(sum(map(len, hive))))
            hives[word[0]] = hive[size:]
    return swarms, {letter: len(hive) for letter, hive in hives.items()}
""",
        r"""
"bee bear ant bat axe bug apple", 2
"one two three", 1
"", 3
"a aa aaa aaaa", 1
"big blue boats bob by", 3
"x y x y x y", 2
"tick tock tick tock tick", 1
"sun sea sand sky son", 4
"pq qp pq qp", 1
"cat cow car dog dot cab", 2
""",
        "medium",
    ),
    program(
        "Typing distance on a pad of ten columns: fingers move from key to key, and the most expensive move is told.",
        r"""
def f(text):
    rows = ["qwertyuiop", "asdfghjkl", "zxcvbnm"]
    place = {letter: (r, c) for r, row in enumerate(rows) for c, letter in enumerate(row)}
    path = [letter for letter in text.lower() if letter in place]
    total, worst = 0, ("", 0)
    for a, b in zip(path, path[1:]):
        (r1, c1), (r2, c2) = place[a], place[b]
        cost = abs(r1 - r2) * 2 + abs(c1 - c2)
        total += cost
        if cost > worst[1]:
            worst = (a + b, cost)
    return total, worst
""",
        r"""
"hello"
"qwerty"
"pizza"
"a"
"Zap!"
"typewriter"
"mmm"
"lazy dog"
"quick brown fox"
"poem"
""",
        "medium",
    ),
    program(
        "A text editor with a clipboard: numbers before a command say how far or how many; u turns the clipboard to capitals.",
        r"""
def f(text, commands):
    cursor, clipboard = 0, ""
    number = ""
    for command in commands:
        if command.isdigit():
            number += command
            continue
        amount = int(number) if number else 1
        number = ""
        if command == "g":
            cursor = min(amount, len(text))
        elif command == "x":
            clipboard = text[cursor:cursor + amount]
            text = text[:cursor] + text[cursor + amount:]
        elif command == "p":
            text = text[:cursor] + clipboard * amount + text[cursor:]
            cursor += len(clipboard) * amount
        elif command == "u":
            clipboard = clipboard.upper()[::amount]
    return text, cursor, clipboard
""",
        r"""
"hello world", "6g5x0gup"
"abc", "x2p"
"abcdef", "2g2xu9gp"
"edit me", "5g2x0g3p"
"", "5xp"
"swap", "1xgp"
"0123456789", "3g4x2u0gp"
"paste", "p3p"
"alphabet", "10g2x4g3xup"
"one two", "3x4gpup"
""",
        "hard",
    ),
    program(
        "Brackets carry numbers in front of them: the text is unpacked from the inside; a star doubles what came before it.",
        r"""
def f(text):
    stack = [("", 1)]
    number = ""
    for letter in text:
        if letter.isdigit():
            number += letter
        elif letter == "[":
            stack.append(("", int(number or 1)))
            number = ""
        elif letter == "]" and len(stack) > 1:
            inner, times = stack.pop()
            outer, outer_times = stack[-1]
            stack[-1] = (outer + inner * times, outer_times)
        elif letter == "*":
            piece, times = stack[-1]
            stack[-1] = (piece + piece, times)
        else:
            piece, times = stack[-1]
            stack[-1] = (piece + letter * int(number or 1), times)
            number = ""
    return stack[0][0], len(stack) - 1
""",
        r"""
"3[a]2[bc]"
"2[a2[b]c]"
"ab*c"
"4x"
"2[3[z]y"
"a]b"
"2[x*]"
"10[q]"
"[ab]*2[c*]"
"3[2[u]v*]"
""",
        "hard",
    ),
    program(
        "Sentences are scored by rare words: a word's weight is the number of sentences without it. Which sentence says the most?",
        r"""
import re


def f(text, count):
    sentences = [s.strip() for s in re.split(r"[.!?]", text) if s.strip()]
    bags = [re.findall(r"[a-z]+", sentence.lower()) for sentence in sentences]
    spread = {}
    for bag in bags:
        for word in set(bag):
            spread[word] = spread.get(word, 0) + 1
    scores = []
    for number, bag in enumerate(bags):
        weight = sum(len(bags) - spread[word] for word in bag)
        scores.append((round(weight / len(bag), 2) if bag else 0, number))
    best = sorted(scores, key=lambda score: (-score[0], score[1]))[:count]
    return [sentences[number] for _, number in sorted(best, key=lambda score: score[1])], [score for score, _ in scores]
""",
        r"""
"The cat sat. The dog sat. A bird sang high!", 1
"One. One two. One two three.", 2
"Only one sentence here", 3
"", 1
"Red red green. Green blue. Blue red? White!", 2
"It rains. It rains. It pours!", 1
"a b. b c. c d. d a.", 4
"Stop! Go. Stop and go. Wait...", 2
"x1 y2. 33. z", 1
"The sun is hot. The moon is cold. Stars are far. The sky is wide.", 2
""",
        "hard",
    ),
    program(
        "Words climb a ladder: one letter changes at each rung, through words of the list only; the shortest ladder is wanted.",
        r"""
def f(start, goal, words):
    allowed = set(words)
    ladders = [[start]]
    seen = {start}
    while ladders:
        following = []
        for ladder in ladders:
            if ladder[-1] == goal:
                return ladder
            for word in sorted(allowed - seen):
                different = sum(a != b for a, b in zip(word, ladder[-1]))
                if len(word) == len(ladder[-1]) and different == 1:
                    seen.add(word)
                    following.append([*ladder, word])
        ladders = following
    return sorted(seen)
""",
        r"""
"cat", "dog", ["cot", "cog", "dog", "dot", "bat"]
"hit", "cog", ["hot", "dot", "dog", "lot", "log", "cog"]
"a", "c", ["a", "b", "c"]
"cold", "warm", ["cord", "card", "ward", "warm", "word"]
"same", "same", []
"one", "two", ["two", "ore", "are"]
"lead", "gold", ["load", "goad", "gold", "lend"]
"tap", "tip", ["top", "tops", "tip"]
"pig", "sty", ["wig", "wag", "way", "say", "sty", "big"]
"ab", "ba", ["aa", "bb", "ba"]
""",
        "hard",
    ),
    program(
        "A tiny stemmer: endings are taken off by rules, in rounds, as long as enough of the word is left.",
        r"""
def f(words):
    rules = [("ational", "ate"), ("ies", "y"), ("ing", ""), ("edly", ""), ("ed", ""), ("ness", ""), ("ly", ""), ("s", "")]
    stems = {}
    for word in words:
        stem, used = word.lower(), []
        changed = True
        while changed:
            changed = False
            for ending, replacement in rules:
                if stem.endswith(ending) and len(stem) - len(ending) >= 3 and not stem.endswith("ss"):
                    stem = stem[:len(stem) - len(ending)] + replacement
                    used.append(ending)
                    changed = True
                    break
            if len(stem) > 3 and stem[-1] == stem[-2] and stem[-1] not in "lsz" and used:
                stem = stem[:-1]
        stems.setdefault(stem, []).append((word, len(used)))
    return stems
""",
        r"""
["running", "runs", "Runner"]
["happily", "happiness", "happy"]
["relational", "relates"]
["glasses", "glass", "kindnesses"]
["ring", "bring", "bringing"]
["stopped", "stops", "stop"]
["studies", "study", "studying"]
["markedly", "marks", "marked"]
["is", "as", "its"]
["hopefully", "hoping", "hopeless"]
""",
        "hard",
    ),
    program(
        "The gaps between words are stretched so that each line has the full width; the last line is left alone.",
        r"""
def f(text, width):
    lines, line = [], []
    for word in text.split():
        if line and sum(map(len, line)) + len(line) + len(word) > width:
            lines.append(line)
            line = []
        line.append(word)
    result = []
    for words in lines:
        gaps = len(words) - 1
        spaces = width - sum(map(len, words))
        if gaps == 0:
            result.append(words[0] + "." * max(0, spaces))
            continue
        share, extra = divmod(spaces, gaps)
        text_line = words[0]
        for number, word in enumerate(words[1:]):
            text_line += "." * (share + (number < extra)) + word
        result.append(text_line)
    return [*result, ".".join(line)]
""",
        r"""
"this is an example of text justification", 16
"what must be shall be", 12
"word", 10
"a b c d e f", 3
"extraordinary short", 8
"the answer to everything is forty two", 14
"", 5
"one two three four five six seven", 11
"I am what I am", 6
"to be or not to be that is the question", 18
""",
        "hard",
    ),
]
