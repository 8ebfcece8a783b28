"""Seeds named after a technique: bits, intervals, codes, greedy choices, iterators, closures."""

from seed_programs import program

PROGRAMS = [
    program(
        "Meetings overlap; they are merged, and the gaps between them are offered.",
        r"""
def f(meetings, opening, closing):
    merged = []
    for start, end in sorted(meetings):
        if merged and start <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([start, end])
    free, clock = [], opening
    for start, end in merged:
        if start > clock:
            free.append((clock, min(start, closing)))
        clock = max(clock, end)
    if clock < closing:
        free.append((clock, closing))
    return merged, free
""",
        r"""
[(9, 10), (12, 14), (13, 15), (10, 11)], 8, 18
[], 9, 17
[(1, 5), (2, 3)], 0, 5
[(8, 9)], 8, 9
[(5, 7), (1, 2), (3, 4)], 0, 10
[(0, 30), (5, 10), (15, 20)], 0, 24
[(6, 8), (20, 22)], 9, 19
[(10, 12), (12, 13), (14, 14)], 10, 15
[(3, 6), (2, 4), (8, 9), (5, 7)], 1, 12
[(1, 2), (1, 2), (1, 3)], 2, 4
""",
    ),
    program(
        "All numbers but one come in pairs; bit tricks find the single ones.",
        r"""
def f(numbers):
    mixed = 0
    for number in numbers:
        mixed ^= number
    if mixed == 0:
        return "none", 0
    lowest = mixed & -mixed
    first = 0
    for number in numbers:
        if number & lowest:
            first ^= number
    second = mixed ^ first
    return sorted((first, second)) if second else first, bin(mixed)
""",
        r"""
[1, 2, 1, 3, 2, 5]
[7]
[]
[4, 4]
[10, 20]
[9, 9, 9]
[6, 8, 6, 1, 8, 3]
[2, 2, 2, 16]
[100, 200, 100, 300, 200]
[31, 17, 31, 40, 17, 99]
""",
    ),
    program(
        "Numbers in an order in which neighbours differ in a single bit; also the place of one of them.",
        r"""
def f(bits, wanted):
    codes = [number ^ (number >> 1) for number in range(1 << bits)]
    shown = [format(code, f"0{bits}b") for code in codes]
    place, rest = 0, wanted
    while rest:
        place ^= rest
        rest >>= 1
    changes = [(a ^ b).bit_length() - 1 for a, b in zip(codes, codes[1:])]
    return shown[:6], place, "".join(map(str, changes))
""",
        r"""
3, 6
1, 1
2, 3
4, 9
4, 0
5, 21
3, 4
2, 2
4, 15
5, 16
""",
    ),
    program(
        "A check code: parity bits stand at the places 1, 2, 4, 8 ...; one wrong bit can be found.",
        r"""
def f(bits):
    code = [0]
    data = list(bits)
    while data:
        place = len(code)
        code.append(0 if place & (place - 1) == 0 else int(data.pop(0)))
    check = 0
    for place, bit in enumerate(code):
        if bit:
            check ^= place
    power = 1
    while power < len(code):
        code[power] = 1 if check & power else 0
        power *= 2
    spoiled = [bit ^ (place == len(code) // 2) for place, bit in enumerate(code)]
    syndrome = 0
    for place, bit in enumerate(spoiled):
        syndrome ^= place * bit
    return "".join(map(str, code[1:])), syndrome
""",
        r"""
"1011"
"0"
"1"
"10011010"
"0000"
"1111"
"110"
"01101001101"
"10101"
"1100110"
""",
    ),
    program(
        "Frequent letters get short codes: a tree is grown from the rarest ones.",
        r"""
import heapq


def f(text):
    counts = {letter: text.count(letter) for letter in sorted(set(text))}
    heap = [(count, i, letter) for i, (letter, count) in enumerate(counts.items())]
    heapq.heapify(heap)
    codes = dict.fromkeys(counts, "")
    fresh = len(heap)
    while len(heap) > 1:
        low, high = heapq.heappop(heap), heapq.heappop(heap)
        for bit, (_, _, letters) in (("0", low), ("1", high)):
            for letter in letters:
                codes[letter] = bit + codes[letter]
        heapq.heappush(heap, (low[0] + high[0], fresh, low[2] + high[2]))
        fresh += 1
    return codes, sum(len(codes[letter]) for letter in text)
""",
        r"""
"abracadabra"
"aaaa"
""
"ab"
"mississippi"
"abcdefgh"
"hello world"
"aabbbcccc"
"zzzzyyyx"
"to be or not to be"
""",
    ),
    program(
        "Letters move to the front when used; their places are written down, and runs of zeros are packed.",
        r"""
def f(text):
    alphabet = sorted(set(text))
    places = []
    for letter in text:
        place = alphabet.index(letter)
        places.append(place)
        alphabet.insert(0, alphabet.pop(place))
    packed = []
    for place in places:
        if place == 0 and packed and isinstance(packed[-1], str):
            packed[-1] = "z" + str(int(packed[-1][1:]) + 1)
        else:
            packed.append("z1" if place == 0 else place)
    return packed, "".join(alphabet)
""",
        r"""
"bananaaa"
"a"
""
"abcabc"
"mississippi"
"zzzyyyxxx"
"panama canal"
"0110100110010110"
"tttttttt"
"level"
""",
    ),
    program(
        "Turns of the text are sorted and the last column is kept; the place of the original row makes it possible to go back.",
        r"""
def f(text, inverse_of=None):
    turns = sorted(text[i:] + text[:i] for i in range(len(text)))
    column = "".join(turn[-1] for turn in turns)
    if inverse_of is None:
        return column, turns.index(text) if text else -1
    rows = [""] * len(text)
    for _ in text:
        rows = sorted(letter + row for letter, row in zip(text, rows))
    return rows[inverse_of], column == text
""",
        r"""
"banana"
"nnbaaa", 3
"aaaa"
"abracadabra"
"rdarcaaaabb", 2
"xyz", 0
""
"mississippi"
"ab", 1
"tomorrow"
""",
    ),
    program(
        "A dictionary grows while the text is coded: known pieces become numbers.",
        r"""
def f(text):
    known = {letter: i for i, letter in enumerate(sorted(set(text)))}
    start = len(known)
    output, piece = [], ""
    for letter in text:
        if piece + letter in known:
            piece += letter
        else:
            output.append(known[piece])
            known[piece + letter] = len(known)
            piece = letter
    if piece:
        output.append(known[piece])
    return output, [word for word, number in known.items() if number >= start]
""",
        r"""
"abababab"
"aaaaaaa"
""
"tobeornottobe"
"xyz"
"banana bandana"
"0101101110"
"ababcbababaaaa"
"q"
"wabbawabba"
""",
    ),
    program(
        "Lectures compete for one room: which set has the most of them, if the one that ends first is always chosen?",
        r"""
def f(lectures, pause):
    chosen, free_from = [], None
    dropped = []
    for name, start, end in sorted(lectures, key=lambda lecture: (lecture[2], lecture[1])):
        if free_from is None or start >= free_from:
            chosen.append(name)
            free_from = end + pause
        else:
            dropped.append((name, free_from - start))
    return chosen, dropped
""",
        r"""
[("a", 1, 4), ("b", 3, 5), ("c", 4, 7), ("d", 6, 9), ("e", 7, 8)], 0
[("a", 1, 4), ("b", 3, 5), ("c", 4, 7), ("d", 6, 9), ("e", 7, 8)], 1
[], 0
[("x", 0, 10), ("y", 1, 2), ("z", 3, 4)], 0
[("p", 5, 6)], 9
[("k", 1, 2), ("l", 2, 3), ("m", 3, 4)], 0
[("k", 1, 2), ("l", 2, 3), ("m", 3, 4)], 1
[("u", 8, 9), ("v", 8, 9), ("w", 7, 9)], 0
[("math", 9, 11), ("art", 10, 12), ("gym", 11, 13), ("bio", 14, 15)], 1
[("q", 0, 3), ("r", 2, 5), ("s", 4, 7), ("t", 6, 9), ("n", 8, 11)], 0
""",
    ),
    program(
        "Platforms at a station: how many trains stand there at the same time, at most, and when?",
        r"""
def f(trains):
    events = []
    for arrival, departure in trains:
        events.append((arrival, 1))
        events.append((departure, -1))
    standing, most, when = 0, 0, None
    profile = []
    for minute, change in sorted(events):
        standing += change
        if profile and profile[-1][0] == minute:
            profile[-1] = (minute, standing)
        else:
            profile.append((minute, standing))
        if standing > most:
            most, when = standing, minute
    return most, when, profile
""",
        r"""
[(900, 910), (940, 1200), (950, 1120), (1100, 1130), (1500, 1900)]
[]
[(1, 2), (2, 3)]
[(5, 9), (5, 9), (5, 9)]
[(0, 10), (1, 9), (2, 8), (3, 7)]
[(100, 200)]
[(10, 20), (15, 25), (20, 30), (25, 35)]
[(3, 4), (1, 2), (5, 6)]
[(7, 8), (6, 8), (6, 7)]
[(1, 100), (2, 3), (50, 60), (55, 57), (99, 101)]
""",
    ),
    program(
        "Functions are built from names and put one behind the other.",
        r"""
from functools import reduce


def f(names, values):
    def adder(n):
        return lambda x: x + n

    def repeat(function, times):
        return lambda x: reduce(lambda y, _: function(y), range(times), x)

    library = {"inc": adder(1), "dec": adder(-1), "double": lambda x: 2 * x, "square": lambda x: x * x, "negate": lambda x: -x}
    chain = []
    for name in names:
        base, _, times = name.partition("^")
        chain.append(repeat(library[base], int(times or 1)))
    return [reduce(lambda y, function: function(y), chain, value) for value in values]
""",
        r"""
["inc", "double^3", "negate"], [0, 1, 2]
[], [5, 6]
["square^2"], [1, 2, -3]
["dec^5", "square"], [0, 5, 10]
["inc^0"], [9]
["negate^3"], [7, -7]
["double", "inc", "double", "inc"], [1, 10, 100]
["square", "dec"], [-2, 0, 4]
["inc^10", "negate", "square"], [-10, -9]
["double^10"], [1, 3]
""",
    ),
    program(
        "Generators in a pipeline: numbers flow through filters until enough have come out.",
        r"""
from itertools import count, islice, takewhile


def f(start, step, stages, amount):
    stream = count(start, step)
    for kind, value in stages:
        if kind == "odd":
            stream = (n for n in stream if n % 2)
        elif kind == "drop":
            stream = (n for n in stream if n % value)
        elif kind == "add":
            stream = (n + value for n in list(islice(stream, 50)))
        elif kind == "below":
            stream = takewhile(lambda n: n < 40, stream)
    return list(islice(stream, amount))
""",
        r"""
1, 3, [("odd", 0), ("add", 10)], 5
0, 1, [], 4
2, 2, [("drop", 3)], 6
5, 5, [("below", 0)], 20
10, -1, [("odd", 0)], 7
1, 1, [("drop", 2), ("drop", 3), ("drop", 5)], 8
7, 7, [("add", -7), ("below", 0)], 10
0, 4, [("add", 1), ("odd", 0), ("below", 0)], 30
100, 50, [("below", 0)], 3
3, 4, [("odd", 0), ("drop", 7), ("add", 2)], 5
""",
    ),
    program(
        "Split the work so that the largest load is as small as possible, without changing the order: search for the answer by halving.",
        r"""
def f(tasks, workers):
    def needed(limit):
        count, load = 1, 0
        for task in tasks:
            if load + task > limit:
                count, load = count + 1, 0
            load += task
        return count

    low, high = max(tasks, default=0), sum(tasks)
    tried = []
    while low < high:
        middle = (low + high) // 2
        tried.append(middle)
        if needed(middle) <= workers:
            high = middle
        else:
            low = middle + 1
    return low, tried
""",
        r"""
[7, 2, 5, 10, 8], 2
[1, 2, 3, 4, 5], 3
[], 1
[9], 4
[5, 5, 5, 5], 4
[10, 20, 30, 40], 1
[3, 1, 4, 1, 5, 9, 2, 6], 3
[100, 1, 1, 1], 2
[2, 3, 1, 2, 4, 3], 5
[6, 6, 6], 2
""",
    ),
    program(
        "A lottery without chance: a simple generator of numbers shuffles the list.",
        r"""
def f(items, seed):
    state = seed
    row = list(items)
    draws = []
    for last in range(len(row) - 1, 0, -1):
        state = (state * 75 + 74) % 65537
        pick = state % (last + 1)
        draws.append(pick)
        row[last], row[pick] = row[pick], row[last]
    return row, draws, state
""",
        r"""
[1, 2, 3, 4, 5, 6], 42
"abc", 1
[], 7
["x"], 3
[10, 20, 30, 40], 0
"hello", 12345
[True, False, None], 65536
[1, 2, 3, 4, 5, 6], 43
["red", "green", "blue", "white", "black"], 99
[0, 0, 1, 1], 2024
""",
    ),
    program(
        "Bits of a number are mirrored, counted and rotated inside a byte of the given width.",
        r"""
def f(number, width, turn):
    mask = (1 << width) - 1
    number &= mask
    turn %= width
    rotated = ((number << turn) | (number >> (width - turn))) & mask
    mirrored = 0
    for i in range(width):
        if number >> i & 1:
            mirrored |= 1 << (width - 1 - i)
    ones = bin(number).count("1")
    return format(rotated, f"0{width}b"), mirrored, ones, (~number & mask)
""",
        r"""
0b1011, 8, 3
0, 4, 1
255, 8, 5
1, 16, 15
300, 8, 0
-1, 6, 2
0xF0, 8, 4
37, 7, -1
1023, 12, 6
5, 3, 1
""",
    ),
    program(
        "Values are kept in a tree of sums, so that changes and sums of beginnings are fast.",
        r"""
def f(size, operations):
    tree = [0] * (size + 1)
    answers = []
    for operation in operations:
        if operation[0] == "add":
            place, amount = operation[1] + 1, operation[2]
            while place <= size:
                tree[place] += amount
                place += place & -place
        else:
            place, total = operation[1], 0
            while place:
                total += tree[place]
                place -= place & -place
            answers.append(total)
    return answers, tree[1:]
""",
        r"""
8, [("add", 0, 5), ("add", 3, 2), ("sum", 4), ("add", 7, 1), ("sum", 8)]
1, []
4, [("sum", 3)]
5, [("add", 4, 10), ("add", 2, -3), ("sum", 3), ("sum", 5)]
3, [("add", 0, 1), ("add", 1, 1), ("add", 2, 1), ("sum", 2)]
6, [("add", 5, 7), ("sum", 5), ("sum", 6)]
7, [("add", 1, 4), ("add", 1, 4), ("sum", 2), ("add", 0, 2), ("sum", 7)]
2, [("add", 0, -5), ("sum", 1), ("add", 0, 5), ("sum", 1)]
10, [("add", 9, 1), ("add", 4, 3), ("add", 6, 2), ("sum", 7), ("sum", 10), ("sum", 0)]
4, [("add", 0, 1), ("add", 1, 2), ("add", 2, 3), ("add", 3, 4), ("sum", 4)]
""",
    ),
    program(
        "The smallest window of the text that holds all wanted letters, as often as wanted.",
        r"""
from collections import Counter


def f(text, wanted):
    missing = Counter(wanted)
    lacking = len(wanted)
    best, start = "", 0
    for end, letter in enumerate(text):
        lacking -= missing[letter] > 0
        missing[letter] -= 1
        while lacking == 0:
            window = text[start:end + 1]
            if not best or len(window) < len(best):
                best = window
            missing[text[start]] += 1
            lacking += missing[text[start]] > 0
            start += 1
    return best
""",
        r"""
"ADOBECODEBANC", "ABC"
"a", "aa"
"hello world", "lol"
"", "x"
"aaabbbccc", "abc"
"xyyzyzyx", "xyz"
"this is a test string", "tist"
"banana", "nan"
"abcdef", "fa"
"cabwefgewcwaefgcf", "cae"
""",
    ),
    program(
        "A histogram of words as bars; ties are ordered by the word, bars are scaled to the width.",
        r"""
from collections import Counter


def f(text, width):
    words = [word.strip(".,!?").lower() for word in text.split()]
    counts = Counter(word for word in words if word)
    if not counts:
        return []
    top = max(counts.values())
    longest = max(map(len, counts))
    lines = []
    for word, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        bar = "=" * max(1, count * width // top)
        lines.append(f"{word:>{longest}} {bar}")
    return lines
""",
        r"""
"the cat and the dog and the bird", 6
"", 5
"Yes, yes! YES?", 3
"one two three", 4
"a a a a b b c", 8
"... !", 2
"to be, or not to be.", 1
"x y x y x", 10
"Red red green. Blue, blue blue", 9
"word", 0
""",
    ),
    program(
        "Ties are broken by a second look: a tournament by points, then wins, then the direct game.",
        r"""
from functools import cmp_to_key


def f(games):
    points, wins, direct = {}, {}, {}
    for home, away, a, b in games:
        for team, mine, theirs in ((home, a, b), (away, b, a)):
            points[team] = points.get(team, 0) + (3 if mine > theirs else 1 if mine == theirs else 0)
            wins[team] = wins.get(team, 0) + (mine > theirs)
        direct[home, away] = direct.get((home, away), 0) + a - b
        direct[away, home] = direct.get((away, home), 0) + b - a

    def compare(x, y):
        if (points[x], wins[x]) != (points[y], wins[y]):
            return -1 if (points[x], wins[x]) > (points[y], wins[y]) else 1
        return -direct.get((x, y), 0) or (x > y) - (x < y)

    return [(team, points[team]) for team in sorted(points, key=cmp_to_key(compare))]
""",
        r"""
[("A", "B", 2, 1), ("B", "C", 3, 0), ("C", "A", 1, 0)]
[]
[("X", "Y", 0, 0)]
[("P", "Q", 1, 2), ("Q", "P", 0, 5)]
[("A", "B", 1, 1), ("B", "C", 1, 1), ("A", "C", 1, 1)]
[("K", "L", 3, 0), ("M", "N", 2, 0), ("K", "M", 1, 1), ("L", "N", 0, 4)]
[("B", "A", 2, 0), ("A", "C", 2, 0), ("B", "C", 0, 1)]
[("U", "V", 9, 0)]
[("D", "E", 0, 1), ("E", "F", 0, 1), ("F", "D", 0, 1), ("D", "G", 2, 2)]
[("R", "S", 1, 0), ("S", "R", 1, 0)]
""",
    ),
    program(
        "Water jugs, weights on a scale: which weights of powers of three go left and which go right?",
        r"""
def f(weight):
    left, right = [], []
    power, rest = 1, weight
    digits = ""
    while rest:
        rest, remainder = divmod(rest, 3)
        if remainder == 1:
            right.append(power)
            digits = "+" + digits
        elif remainder == 2:
            left.append(power)
            rest += 1
            digits = "-" + digits
        else:
            digits = "0" + digits
        power *= 3
    return {"with goods": left, "other side": right, "code": digits or "0"}
""",
        r"""
17
0
1
2
40
5
100
81
80
365
""",
    ),
    program(
        "A list is walked by index jumps given by its own values; each value changes when it is used.",
        r"""
def f(offsets, change):
    values = list(offsets)
    place, steps = 0, 0
    trail = []
    while 0 <= place < len(values) and steps < 60:
        jump = values[place]
        values[place] += change if jump < 3 else -change
        trail.append(place)
        place += jump
        steps += 1
    return steps, place, values, max(trail, default=-1)
""",
        r"""
[0, 3, 0, 1, -3], 1
[], 1
[0], 1
[1, 1, 1], 0
[2, -1, 3], 2
[0, 0], 0
[3, 0, -1, -2, 1], 1
[5], 1
[1, -1], 3
[0, 1, 0, 1, 0, 1], 1
""",
    ),
    program(
        "Balls fall through a board of pins; the direction depends on how often each pin was hit before.",
        r"""
def f(levels, balls):
    hits = {}
    boxes = [0] * (levels + 1)
    last = ""
    for _ in range(balls):
        column, last = 0, ""
        for level in range(levels):
            count = hits.get((level, column), 0)
            hits[level, column] = count + 1
            if count % 2:
                column += 1
                last += "R"
            else:
                last += "L"
        boxes[column] += 1
    return boxes, last
""",
        r"""
3, 8
0, 4
1, 5
4, 1
2, 4
5, 10
3, 7
6, 64
4, 20
2, 3
""",
    ),
    program(
        "Which numbers of the list can be written as a sum of two others, and in how many ways?",
        r"""
def f(numbers):
    ordered = sorted(numbers)
    ways = {}
    for i, goal in enumerate(ordered):
        low, high = 0, len(ordered) - 1
        while low < high:
            if low == i:
                low += 1
            elif high == i:
                high -= 1
            elif ordered[low] + ordered[high] < goal:
                low += 1
            elif ordered[low] + ordered[high] > goal:
                high -= 1
            else:
                ways.setdefault(goal, set()).add((ordered[low], ordered[high]))
                low += 1
    return {goal: len(pairs) for goal, pairs in ways.items()}
""",
        r"""
[1, 2, 3, 4, 5, 6]
[0, 0, 0]
[]
[5, 10]
[-3, 3, 0, 6]
[1, 1, 2]
[2, 4, 8, 16]
[7, -7, 14, 0, 21]
[3, 1, 4, 1, 5, 9]
[10, 20, 30, 40, 50]
""",
    ),
    program(
        "Objects with a price and a weight: nobody is better in both. Which remain?",
        r"""
class Offer:
    def __init__(self, name, price, quality):
        self.name = name
        self.price = price
        self.quality = quality

    def beats(self, other):
        no_worse = self.price <= other.price and self.quality >= other.quality
        return no_worse and (self.price < other.price or self.quality > other.quality)


def f(rows):
    offers = [Offer(*row) for row in rows]
    front = [offer for offer in offers if not any(rival.beats(offer) for rival in offers)]
    front.sort(key=lambda offer: (offer.price, offer.name))
    beaten = {offer.name: sum(rival.beats(offer) for rival in offers) for offer in offers if offer not in front}
    return [offer.name for offer in front], beaten
""",
        r"""
[("a", 10, 5), ("b", 8, 5), ("c", 12, 9), ("d", 20, 9)]
[("x", 1, 1)]
[]
[("p", 5, 5), ("q", 5, 5)]
[("m", 1, 9), ("n", 2, 8), ("o", 3, 7)]
[("k", 9, 1), ("l", 8, 2), ("j", 7, 3), ("i", 6, 4)]
[("u", 4, 4), ("v", 3, 3), ("w", 2, 2)]
[("s", 10, 10), ("t", 10, 9), ("r", 9, 10)]
[("one", 0, 0), ("two", 0, 1), ("six", 1, 0)]
[("e", 30, 70), ("f", 25, 60), ("g", 35, 65), ("h", 20, 65)]
""",
    ),
    program(
        "Fractions between zero and one with small denominators, in order, by taking middle fractions.",
        r"""
def f(limit, low, high):
    def between(a, b, c, d):
        top, bottom = a + c, b + d
        if bottom > limit:
            return []
        return [*between(a, b, top, bottom), (top, bottom), *between(top, bottom, c, d)]

    everything = [(0, 1), *between(0, 1, 1, 1), (1, 1)]
    inside = [f"{top}/{bottom}" for top, bottom in everything if low <= top / bottom <= high]
    return len(everything), inside
""",
        r"""
5, 0.2, 0.6
1, 0, 1
2, 0, 1
7, 0.4, 0.5
8, 0.9, 1
3, 0.7, 0.6
6, 0, 0.25
4, 0.5, 0.5
10, 0.3, 0.35
9, 0.75, 0.9
""",
    ),
    program(
        "Stable pairs: each proposes to the best who has not refused; the other side keeps the better one.",
        r"""
def f(left, right):
    free = sorted(left, reverse=True)
    choices = {name: list(wishes) for name, wishes in left.items()}
    engaged, refusals = {}, 0
    while free:
        suitor = free.pop()
        if not choices[suitor]:
            continue
        wanted = choices[suitor].pop(0)
        rival = engaged.get(wanted)
        if rival is None:
            engaged[wanted] = suitor
        elif right[wanted].index(suitor) < right[wanted].index(rival):
            engaged[wanted] = suitor
            free.append(rival)
            refusals += 1
        else:
            free.append(suitor)
            refusals += 1
    return dict(sorted((suitor, wanted) for wanted, suitor in engaged.items())), refusals
""",
        r"""
{"a": "xyz", "b": "yxz", "c": "xzy"}, {"x": "bca", "y": "acb", "z": "abc"}
{"p": "q"}, {"q": "p"}
{}, {}
{"a": "xy", "b": "xy"}, {"x": "ab", "y": "ab"}
{"a": "xy", "b": "xy"}, {"x": "ba", "y": "ba"}
{"m": "u", "n": "u"}, {"u": "nm"}
{"1": "ABC", "2": "BCA", "3": "CAB"}, {"A": "231", "B": "312", "C": "123"}
{"k": "rst", "l": "rst", "m": "rst"}, {"r": "mlk", "s": "klm", "t": "lmk"}
{"d": "hg", "e": "gh"}, {"g": "de", "h": "ed"}
{"w": "12", "v": "21"}, {"1": "vw", "2": "wv"}
""",
    ),
    program(
        "Text with numbers as a stream of deltas: coded as differences of differences, with the smallest number of bits for each.",
        r"""
def f(values):
    first, second = [], []
    previous, slope = 0, 0
    for value in values:
        delta = value - previous
        first.append(delta)
        second.append(delta - slope)
        previous, slope = value, delta
    zigzag = [2 * number if number >= 0 else -2 * number - 1 for number in second]
    sizes = [max(1, number.bit_length()) for number in zigzag]
    return second, sum(sizes), max(sizes, default=0)
""",
        r"""
[100, 102, 104, 107, 110]
[0]
[]
[5, 5, 5, 5]
[1, 4, 9, 16, 25]
[-3, 3, -3, 3]
[10, 9, 8, 7, 6]
[1000, 0, 1000]
[2, 4, 8, 16, 32]
[7, 7, 8, 8, 9, 9]
""",
    ),
    program(
        "Skyline: buildings are given by left edge, height and right edge; the outline is told by its corners.",
        r"""
def f(buildings):
    edges = sorted({x for left, _, right in buildings for x in (left, right)})
    outline = []
    for x in edges:
        height = max((h for left, h, right in buildings if left <= x < right), default=0)
        if not outline or outline[-1][1] != height:
            outline.append((x, height))
    area = sum((b[0] - a[0]) * a[1] for a, b in zip(outline, outline[1:]))
    return outline, area
""",
        r"""
[(2, 10, 9), (3, 15, 7), (5, 12, 12), (15, 10, 20), (19, 8, 24)]
[(0, 1, 1)]
[]
[(1, 5, 3), (3, 5, 6)]
[(0, 3, 10), (2, 8, 4), (6, 8, 7)]
[(1, 2, 9), (1, 4, 5), (1, 6, 3)]
[(0, 7, 2), (5, 7, 6)]
[(4, 1, 8), (0, 1, 5)]
[(10, 20, 30), (15, 20, 25)]
[(0, 2, 3), (1, 5, 4), (3, 1, 9), (6, 4, 8)]
""",
    ),
    program(
        "Trains of thought: a number is guessed by halving, but the answers may contain one lie, which is noticed when nothing is left.",
        r"""
def f(low, high, answers):
    asked = []
    left, right = low, high
    for answer in answers:
        if left > right:
            break
        middle = (left + right) // 2
        asked.append(middle)
        if answer == "=":
            return "found", middle, asked
        if answer == "<":
            right = middle - 1
        else:
            left = middle + 1
    if left > right:
        return "lie", None, asked
    return "open", (left, right), asked
""",
        r"""
1, 100, "><>><"
1, 10, "="
1, 3, "<<<"
5, 5, ">"
0, 1000, ""
1, 16, ">>>="
-50, 50, "<>>"
1, 2, ">>"
10, 20, "<><><"
1, 1000000, ">>>>>>>>>>"
""",
    ),
    program(
        "The median is known at each moment while numbers arrive: two heaps hold the halves.",
        r"""
import heapq


def f(numbers):
    low, high = [], []
    medians = []
    for number in numbers:
        heapq.heappush(high, number)
        heapq.heappush(low, -heapq.heappop(high))
        if len(low) > len(high) + 1:
            heapq.heappush(high, -heapq.heappop(low))
        middle = -low[0] if len(low) > len(high) else (high[0] - low[0]) / 2
        medians.append(middle)
    return medians, sorted(-number for number in low), sorted(high)
""",
        r"""
[5, 15, 1, 3, 8]
[1]
[]
[2, 2, 2, 2]
[10, 9, 8, 7]
[1, 2, 3, 4, 5, 6]
[-5, 5, 0]
[100, 1, 50, 75]
[3, 1, 4, 1, 5, 9, 2]
[0, 1000, 0, 1000, 500]
""",
    ),
    program(
        "A total in whole pieces is shared in proportion, and the pieces left over go to the largest remainders.",
        r"""
def f(total, weights):
    whole = sum(weights.values())
    if whole == 0:
        return {}, total
    shares, remainders = {}, []
    for name, weight in weights.items():
        shares[name], rest = divmod(total * weight, whole)
        remainders.append((-rest, name))
    left = total - sum(shares.values())
    lucky = [name for _, name in sorted(remainders)[:left]]
    for name in lucky:
        shares[name] += 1
    return shares, lucky
""",
        r"""
10, {"a": 1, "b": 1, "c": 1}
100, {"x": 50, "y": 30, "z": 20}
5, {"p": 0, "q": 0}
7, {"k": 3, "l": 3, "m": 1}
1, {"one": 1, "two": 2}
0, {"n": 5}
11, {"u": 2, "v": 3, "w": 4}
25, {"north": 417, "south": 391, "west": 192}
3, {"d": 1, "c": 1, "b": 1, "a": 1}
1000, {"e": 1, "f": 999, "g": 333}
""",
    ),
    program(
        "A chain of people passes parcels round a table; the music stops according to a tune of digits.",
        r"""
def f(names, tune, parcels):
    held = {name: 0 for name in names}
    order = list(names)
    holder = 0
    out = []
    for beat in tune:
        if len(order) == 1:
            break
        holder = (holder + int(beat)) % len(order)
        held[order[holder]] += 1
        if held[order[holder]] == parcels:
            out.append(order.pop(holder))
            holder %= len(order)
    return order, out, {name: count for name, count in held.items() if name in order}
""",
        r"""
["ann", "bob", "cid"], "1231231", 2
["x"], "999", 1
["p", "q"], "", 1
["a", "b", "c", "d"], "31415926", 2
["u", "v"], "0000", 3
["k", "l", "m"], "111111111", 3
["ann", "bob", "cid", "dee", "eva"], "27182818284", 2
["r", "s", "t"], "5", 1
["one", "two", "three"], "4321043210", 4
["w", "z", "y"], "222", 1
""",
    ),
    program(
        "Nested lists are compared like numbers of different precision; bring the packets into order.",
        r"""
from functools import cmp_to_key


def f(packets):
    def compare(a, b):
        if isinstance(a, int) and isinstance(b, int):
            return (a > b) - (a < b)
        a = a if isinstance(a, list) else [a]
        b = b if isinstance(b, list) else [b]
        for x, y in zip(a, b):
            order = compare(x, y)
            if order:
                return order
        return (len(a) > len(b)) - (len(a) < len(b))

    right = [i for i in range(0, len(packets) - 1, 2) if compare(packets[i], packets[i + 1]) < 0]
    return sorted(packets, key=cmp_to_key(compare)), right
""",
        r"""
[[1, 1, 3], [1, 1, 5], [[1], [2, 3]], [[1], 4]]
[]
[[9], [[8, 7, 6]]]
[[], [[]], [[[]]]]
[[7, 7, 7, 7], [7, 7, 7]]
[5, [5], [[5, 0]], 4]
[[1, [2, [3, [4, 0]]]], [1, [2, [3, [4, 1]]]]]
[[3], [2], [1], [0]]
[[[4, 4], 4], [[4, 4], 4, 4], [[4]], [4, [4]]]
[10, 9, [9, 1], [[]], [10]]
""",
    ),
]
