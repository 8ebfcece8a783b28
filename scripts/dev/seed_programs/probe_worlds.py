"""Probes over small worlds: games, grids, graphs, protocols, recursion."""

from seed_programs import program

PROGRAMS = [
    program(
        "A frog jumps over the stones that it may use.",
        r"""
def f(stones, jump):
    place = 0
    visited = []
    while place < len(stones) and stones[place] == "o":
        visited.append(place)
        place += jump
    return visited, place
""",
        r"""
"oooxoo", 2
"xoo", 1
"oooo", 1
"", 3
"oxoxoxo", 2
"ooxooxoox", 3
"oooooooo", 5
"oxxxo", 4
"oo", 10
"oooxxo", 1
""",
        "easy",
    ),
    program(
        "Two counters: one goes up with each plus, the other takes over at each exchange.",
        r"""
def f(signs):
    a, b = 0, 0
    for sign in signs:
        if sign == "+":
            a += 1
        elif sign == "-":
            a -= 1
        else:
            a, b = b, a + b
    return a, b
""",
        r"""
"++x+x"
""
"xxx"
"+-+-"
"+x+x+x"
"---x+"
"++++xx-"
"+xxxxxx"
"-x-x-x-"
"+++x---x"
""",
        "easy",
    ),
    program(
        "The player walks along the row and collects or loses; at zero lives the walk is over.",
        r"""
def f(row, lives):
    coins = 0
    for place, thing in enumerate(row):
        if thing == "$":
            coins += 1
        elif thing == "!":
            lives -= 1
        if lives == 0:
            return "over", place, coins
    return "done", lives, coins
""",
        r"""
"$.!$$!$", 2
"...", 1
"$$$", 3
"!!!", 3
"!$!$!$", 2
"", 5
"$!$!$!$", 4
".$.$.!", 1
"$$!..$", 2
"!", 9
""",
        "easy",
    ),
    program(
        "Boxes are stacked; a box must be smaller than the one below it, or the stack begins anew.",
        r"""
def f(boxes):
    stack = []
    fallen = 0
    for box in boxes:
        if stack and box >= stack[-1]:
            fallen += len(stack)
            stack = []
        stack.append(box)
    return stack, fallen
""",
        r"""
[5, 4, 3, 6, 2]
[1]
[]
[3, 3, 3]
[9, 7, 5, 3, 1]
[1, 2, 3, 4]
[8, 2, 5, 4, 1, 1]
[10, 9, 10, 9, 8]
[6, 5, 7, 2, 1, 0]
[4, 2, 3]
""",
        "easy",
    ),
    program(
        "How much of the board is visible from the left, looking along each row until something tall blocks the sight?",
        r"""
def f(rows):
    visible = []
    for row in rows:
        count, tallest = 0, -1
        for height in row:
            if height > tallest:
                count += 1
                tallest = height
        visible.append(count)
    return visible
""",
        r"""
[[3, 1, 4], [1, 2, 3], [9, 9, 9]]
[[0]]
[]
[[5, 4, 3, 2, 1]]
[[1, 1, 2, 2, 3]]
[[2, 7, 1, 8], [2, 8, 1, 8]]
[[], [0, 0]]
[[1, 3, 5, 7], [7, 5, 3, 1], [4, 4, 5, 5]]
[[6], [1, 6], [1, 2, 6]]
[[0, 1, 0, 2, 0, 3]]
""",
        "easy",
    ),
    program(
        "A number climbs down a tree by itself: even halves, odd loses one; the path is joined.",
        r"""
def f(n):
    if n < 2:
        return str(n)
    if n % 2 == 0:
        return f(n // 2) + "0"
    return f(n - 1) + "+"
""",
        r"""
10
1
0
7
16
23
100
31
64
45
""",
        "easy",
    ),
    program(
        "A queue at the doctor: urgent ones go in front, the doctor takes one after every second arrival.",
        r"""
def f(arrivals):
    queue, treated = [], []
    for number, patient in enumerate(arrivals, 1):
        if patient.isupper():
            queue.insert(0, patient)
        else:
            queue.append(patient)
        if number % 2 == 0:
            treated.append(queue.pop(0))
    return "".join(treated), "".join(queue)
""",
        r"""
"abCdEf"
"a"
""
"ABCD"
"abcdef"
"aBcDeF"
"xyZ"
"QrStuV"
"mmMMmm"
"pqRsTuvW"
""",
        "easy",
    ),
    program(
        "A coin-pushing robot follows arrows in a small room with walls; bumping costs energy and turns it right.",
        r"""
def f(width, height, energy, heading):
    x, y = 0, 0
    moves = {"N": (0, -1), "E": (1, 0), "S": (0, 1), "W": (-1, 0)}
    order = "NESW"
    cleaned = {(0, 0)}
    while energy > 0:
        dx, dy = moves[heading]
        if 0 <= x + dx < width and 0 <= y + dy < height and (x + dx, y + dy) not in cleaned:
            x, y = x + dx, y + dy
            cleaned.add((x, y))
            energy -= 1
        else:
            heading = order[(order.index(heading) + 1) % 4]
            energy -= 2
    return (x, y), heading, len(cleaned)
""",
        r"""
3, 3, 12, "E"
1, 1, 4, "N"
5, 2, 10, "S"
4, 4, 30, "E"
2, 2, 0, "W"
3, 5, 9, "N"
6, 1, 7, "E"
4, 3, 15, "S"
2, 6, 11, "W"
5, 5, 20, "S"
""",
        "medium",
    ),
    program(
        "A tiny stock exchange: buy and sell orders wait in the book until prices cross.",
        r"""
def f(orders):
    book = {"buy": [], "sell": []}
    trades = []
    for side, price, name in orders:
        other = "sell" if side == "buy" else "buy"
        waiting = book[other]
        waiting.sort(key=lambda order: order[0], reverse=other == "buy")
        crosses = waiting and (waiting[0][0] <= price if side == "buy" else waiting[0][0] >= price)
        if crosses:
            best_price, partner = waiting.pop(0)
            trades.append((name, partner, best_price))
        else:
            book[side].append((price, name))
    return trades, book
""",
        r"""
[("buy", 10, "a"), ("sell", 12, "b"), ("sell", 9, "c"), ("buy", 13, "d")]
[]
[("sell", 5, "x"), ("sell", 4, "y"), ("buy", 4, "z")]
[("buy", 1, "p"), ("buy", 2, "q"), ("buy", 3, "r"), ("sell", 2, "s")]
[("sell", 7, "k")]
[("buy", 8, "m"), ("sell", 8, "n"), ("buy", 8, "o")]
[("sell", 3, "u"), ("buy", 2, "v"), ("sell", 1, "w"), ("buy", 3, "t")]
[("buy", 20, "one"), ("buy", 30, "two"), ("sell", 25, "six"), ("sell", 25, "ten")]
[("sell", 10, "e"), ("sell", 10, "f"), ("buy", 11, "g"), ("buy", 9, "h"), ("buy", 10, "i")]
[("buy", 5, "c"), ("sell", 6, "d"), ("buy", 6, "e"), ("sell", 5, "f")]
""",
        "medium",
    ),
    program(
        "Keys in each room open other rooms; which rooms remain shut, and in which order are the others entered?",
        r"""
def f(rooms):
    entered = []
    pile = [0]
    while pile:
        room = pile.pop()
        if room in entered or room >= len(rooms):
            continue
        entered.append(room)
        pile.extend(rooms[room])
    shut = [room for room in range(len(rooms)) if room not in entered]
    return entered, shut
""",
        r"""
[[2, 1], [3], [], [1], [0]]
[[]]
[[1], [2], [0]]
[[5], [0]]
[[1, 2, 3], [], [4], [], [5], [2]]
[[3], [2], [1], [4, 1], []]
[[0, 0], [1]]
[[2], [3], [3, 0], [1, 4], [9]]
[[1, 3], [3, 0, 1], [2], [0]]
[[6, 4], [], [5], [1], [3], [], [2]]
""",
        "medium",
    ),
    program(
        "A plant on a line lives on with one or two neighbours within two places; an empty place with exactly three blooms.",
        r"""
def f(row, seasons):
    for _ in range(seasons):
        following = ""
        for i, place in enumerate(row):
            near = row[max(0, i - 2):i] + row[i + 1:i + 3]
            count = near.count("*")
            alive = count in (1, 2) if place == "*" else count == 3
            following += "*" if alive else "."
        row = following
    return row, row.count("*")
""",
        r"""
"**.*..**", 1
"*", 2
"....", 3
"*****", 1
"*.*.*.*", 2
"**..**", 5
"***.***", 1
".*..*..*.", 2
"**.**.**.**", 3
"*...**...*", 1
""",
        "medium",
    ),
    program(
        "Play a round of a card game for two: higher card wins both, a tie leaves them on the table for the next winner.",
        r"""
def f(first, second, rounds):
    a, b, table = list(first), list(second), []
    played = 0
    while a and b and played < rounds:
        played += 1
        x, y = a.pop(0), b.pop(0)
        table += [max(x, y), min(x, y)]
        if x > y:
            a += table
            table = []
        elif y > x:
            b += table
            table = []
    return a, b, table, played
""",
        r"""
[5, 2, 9], [3, 8, 1], 4
[1], [1], 5
[], [4], 3
[7, 7, 7], [7, 7, 8], 3
[10, 1, 10], [2, 9, 2], 10
[6, 6, 2], [6, 1, 3], 2
[4, 3, 2, 1], [1, 2, 3, 4], 4
[2, 3], [3, 2], 20
[11, 5, 5, 8], [11, 5, 6, 1], 3
[9], [8, 7, 6], 2
""",
        "medium",
    ),
    program(
        "Mail passes through offices: each office forwards by the first letter of the address, and each hop costs.",
        r"""
def f(routes, start, address):
    office, cost = start, 0
    path = [start]
    for letter in address:
        if letter not in routes.get(office, {}):
            continue
        office, price = routes[office][letter]
        cost += price
        if office in path:
            return path, cost, "returned to " + office
        path.append(office)
    return path, cost, "delivered" if len(path) > 1 else "not moved"
""",
        r"""
{"X": {"a": ("Y", 2), "b": ("Z", 5)}, "Y": {"c": ("Z", 1)}, "Z": {"a": ("X", 9)}}, "X", "ac"
{"X": {"a": ("Y", 2), "b": ("Z", 5)}, "Y": {"c": ("Z", 1)}, "Z": {"a": ("X", 9)}}, "X", "qb"
{}, "P", "abc"
{"P": {"k": ("P", 1)}}, "P", "k"
{"A": {"1": ("B", 1)}, "B": {"1": ("C", 2)}, "C": {"1": ("D", 3)}}, "A", "1111"
{"A": {"1": ("B", 1)}, "B": {"2": ("A", 4)}}, "A", "12"
{"M": {"x": ("N", 0)}, "N": {"y": ("O", 7)}}, "M", "yx"
{"U": {"z": ("V", 3)}}, "V", "z"
{"S": {"l": ("T", 2), "r": ("W", 2)}, "T": {"r": ("W", 1)}}, "S", "lxr"
{"G": {"g": ("H", 10)}, "H": {"h": ("I", -4), "g": ("G", 1)}}, "G", "ghg"
""",
        "medium",
    ),
    program(
        "A recursive picture: a text is drawn as nested frames, until nothing is left inside.",
        r"""
def f(text, mark):
    if not text:
        return []
    if len(text) <= 2:
        return [mark + text + mark]
    inner = f(text[1:-1], text[0])
    width = max(len(line) for line in inner)
    edge = mark * (width + 2)
    return [edge] + [mark + line.ljust(width) + text[-1] for line in inner]
""",
        r"""
"abcde", "#"
"", "+"
"xy", "*"
"frame", "-"
"hello!", "."
"1", "0"
"abc", "|"
"level up", "~"
"zigzag", "z"
"stop", "/"
""",
        "medium",
    ),
    program(
        "A parking lot with small and large places; large cars need large ones or two neighbouring small ones.",
        r"""
def f(lot, cars):
    places = list(lot)
    refused = []
    for name, large in cars:
        if not large:
            spot = next((i for i, p in enumerate(places) if p == "s"), None)
            spots = [spot] if spot is not None else [i for i, p in enumerate(places) if p == "L"][:1]
        else:
            spots = [i for i, p in enumerate(places) if p == "L"][:1]
            if not spots:
                pair = next((i for i in range(len(places) - 1) if places[i] == places[i + 1] == "s"), None)
                spots = [pair, pair + 1] if pair is not None else []
        if not spots:
            refused.append(name)
        for spot in spots:
            places[spot] = name
    return "".join(places), refused
""",
        r"""
"ssLs", [("a", True), ("b", True), ("c", False), ("d", False)]
"", [("x", False)]
"LL", [("p", False), ("q", False), ("r", False)]
"sss", [("k", True), ("l", True)]
"sLs", [("m", False), ("n", True), ("o", True), ("u", False)]
"ssss", [("v", True), ("w", True)]
"sLsL", []
"LsL", [("d", False), ("e", False), ("f", True), ("g", True)]
"ssLss", [("h", True), ("i", True), ("j", True), ("t", True)]
"L", [("z", True), ("y", True)]
""",
        "medium",
    ),
    program(
        "A message goes round a ring of computers; each one passes on the larger number; how many messages until the leader is known?",
        r"""
def f(numbers):
    size = len(numbers)
    if size == 0:
        return None, 0, []
    travelling = [(number, i) for i, number in enumerate(numbers)]
    messages, history = 0, []
    while True:
        arrived = []
        for number, place in travelling:
            target = (place + 1) % size
            messages += 1
            if number == numbers[target]:
                return number, messages, history
            if number > numbers[target]:
                arrived.append((number, target))
        history.append(len(arrived))
        travelling = arrived
""",
        r"""
[3, 7, 2, 5]
[1]
[]
[4, 3, 2, 1]
[1, 2, 3, 4]
[10, 20]
[9, 1, 8, 2, 7]
[6, 5, 9, 4, 3, 8]
[2, 1, 3]
[100, 5, 50, 10, 75]
""",
        "hard",
    ),
    program(
        "A language for moves of a pen, with repetition and with words of one's own. Where does the pen end, and how many marks are there?",
        r"""
def f(source):
    tokens = source.replace("[", " [ ").replace("]", " ] ").split()
    words = {}
    state = {"x": 0, "y": 0, "down": True}
    marks = set()

    def block(i):
        depth, end = 1, i
        while depth:
            end += 1
            depth += {"[": 1, "]": -1}.get(tokens[end], 0)
        return end

    def run(i, stop):
        while i < stop:
            token = tokens[i]
            if token == "times":
                end = block(i + 2)
                for _ in range(int(tokens[i + 1])):
                    run(i + 3, end)
                i = end
            elif token == "to":
                end = block(i + 2)
                words[tokens[i + 1]] = (i + 3, end)
                i = end
            elif token in words:
                run(*words[token])
            elif token == "pen":
                state["down"] = not state["down"]
            else:
                state["x"] += {"e": 1, "w": -1}.get(token, 0)
                state["y"] += {"n": 1, "s": -1}.get(token, 0)
                if state["down"]:
                    marks.add((state["x"], state["y"]))
            i += 1

    run(0, len(tokens))
    return state["x"], state["y"], len(marks)
""",
        r"""
"times 3 [e n] pen times 2 [w] pen s"
""
"to step [e e n] step step"
"pen e e e"
"times 2 [times 2 [n] w]"
"to a [e] to b [a a] times 3 [b pen]"
"e w e w"
"times 0 [n] s"
"to zig [n e s e] times 2 [zig] pen zig"
"n pen n pen n times 4 [w s]"
""",
        "hard",
    ),
    program(
        "The small crane takes one crate at a time, the big one several together; when does a stack first become empty?",
        r"""
def f(stacks, moves, big):
    stacks = [list(stack) for stack in stacks]
    emptied = None
    skipped = []
    for number, (count, source, target) in enumerate(moves, 1):
        if len(stacks[source]) < count:
            skipped.append(number)
            continue
        taken = stacks[source][len(stacks[source]) - count:]
        del stacks[source][len(stacks[source]) - count:]
        stacks[target] += taken if big else taken[::-1]
        if emptied is None and not stacks[source]:
            emptied = number
    tops = "".join(stack[-1] if stack else "." for stack in stacks)
    return tops, emptied, skipped, ["".join(stack) for stack in stacks]
""",
        r"""
["NZ", "DCM", "P"], [(1, 1, 0), (3, 0, 2), (2, 1, 0), (1, 0, 1)], False
["NZ", "DCM", "P"], [(1, 1, 0), (3, 0, 2), (2, 1, 0), (1, 0, 1)], True
["A"], [(1, 0, 0)], True
["AB", ""], [(3, 0, 1), (2, 0, 1), (1, 1, 0)], False
["", ""], [(0, 0, 1)], True
["XYZ", "W"], [(2, 0, 1), (2, 1, 0), (1, 1, 0)], True
["abc", "def", "ghi"], [(3, 0, 1), (6, 1, 2), (9, 2, 0)], False
["pq", "r"], [(1, 0, 1), (1, 1, 0), (1, 1, 0), (1, 1, 0)], False
["KLMN", "O", ""], [(2, 0, 2), (1, 1, 2), (3, 2, 1)], True
["1234", ""], [(4, 0, 1), (4, 1, 0), (4, 0, 1)], False
""",
        "hard",
    ),
    program(
        "Players spread over the map one step a turn, in their order; a cell belongs to who comes first, and walls stop them.",
        r"""
def f(rows):
    owner = {}
    fronts = {}
    for r, row in enumerate(rows):
        for c, cell in enumerate(row):
            if cell.isalpha():
                owner[r, c] = cell
                fronts.setdefault(cell, []).append((r, c))
    turns = 0
    while any(fronts.values()):
        turns += 1
        for player in sorted(fronts):
            grown = []
            for r, c in fronts[player]:
                for y, x in ((r - 1, c), (r + 1, c), (r, c - 1), (r, c + 1)):
                    if 0 <= y < len(rows) and 0 <= x < len(rows[y]) and rows[y][x] != "#" and (y, x) not in owner:
                        owner[y, x] = player
                        grown.append((y, x))
            fronts[player] = grown
    picture = ["".join(owner.get((r, c), cell) for c, cell in enumerate(row)) for r, row in enumerate(rows)]
    return picture, turns
""",
        r"""
["A...B", ".....", "C...."]
["A"]
["..."]
["A#B", ".#.", "..."]
["B.A"]
["A....", "####.", "B...."]
["X.#.Y", "..#..", ".###.", "....."]
["P...", "...Q", "R..."]
["A.B", "...", "B.A"]
["..K..", ".###.", "..L.."]
""",
        "hard",
    ),
    program(
        "A committee is elected by approval; a voter's weight shrinks with each seat they already like.",
        r"""
from fractions import Fraction


def f(ballots, seats):
    liked = [0] * len(ballots)
    chosen, scores_log = [], []
    candidates = sorted({name for ballot in ballots for name in ballot})
    while len(chosen) < seats and len(chosen) < len(candidates):
        scores = {}
        for name in candidates:
            if name in chosen:
                continue
            scores[name] = sum(Fraction(1, 1 + liked[i]) for i, ballot in enumerate(ballots) if name in ballot)
        best = min(scores, key=lambda name: (-scores[name], name))
        chosen.append(best)
        scores_log.append(str(scores[best]))
        for i, ballot in enumerate(ballots):
            liked[i] += best in ballot
    unhappy = [i for i, count in enumerate(liked) if count == 0]
    return chosen, scores_log, unhappy
""",
        r"""
["AB", "AB", "AC", "D"], 3
["X"], 2
[], 1
["PQ", "QR", "RP"], 2
["KLM", "KLM", "KLM", "N"], 3
["A", "B", "C"], 2
["UV", "V", "VW", "W", "U"], 2
["AB", "AB", "AB", "CD", "CD"], 4
["EFG", "E", "F", "G", "G"], 1
["MN", "MO", "MP", "Q", "Q", "NQ"], 3
""",
        "hard",
    ),
    program(
        "Memory is handed out by first fit; when the free space would suffice only together, it is compacted.",
        r"""
def f(size, requests):
    memory = ["."] * size
    log = []
    for request in requests:
        name, amount = request[0], int(request[1:] or 0)
        if amount == 0:
            log.append(memory.count(name))
            memory = ["." if cell == name else cell for cell in memory]
            continue
        text = "".join(memory)
        place = text.find("." * amount)
        if place < 0 and text.count(".") >= amount:
            used = [cell for cell in memory if cell != "."]
            memory = used + ["."] * (size - len(used))
            log.append("compact")
            place = len(used)
        if place < 0:
            log.append("full")
            continue
        memory[place:place + amount] = [name] * amount
        log.append(place)
    return "".join(memory), log
""",
        r"""
10, ["a3", "b4", "a", "c2", "d4"]
4, ["x5", "x2", "y2", "x", "z3"]
6, []
8, ["p2", "q2", "r2", "p", "r", "s4"]
5, ["k5", "k", "k5"]
12, ["m4", "n4", "o4", "n", "q3", "r2", "m", "s5"]
3, ["u1", "v1", "w1", "v", "t2", "v1"]
7, ["a2", "b", "a", "c7"]
9, ["e3", "f3", "g3", "e", "g", "h6", "i1"]
10, ["j1", "l1", "j1", "l1", "j", "l", "z9"]
""",
        "hard",
    ),
    program(
        "Logic gates: wires get values as soon as their inputs are known; the circuit is settled in waves; what do the outputs say?",
        r"""
def f(gates, inputs):
    values = dict(inputs)
    waves = []
    while True:
        fresh = {}
        for output, (kind, *wires) in gates.items():
            if output in values:
                continue
            known = [values[wire] for wire in wires if wire in values]
            if kind == "and" and (0 in known or len(known) == len(wires)):
                fresh[output] = int(all(known))
            elif kind == "or" and (1 in known or len(known) == len(wires)):
                fresh[output] = int(any(known))
            elif kind == "xor" and len(known) == len(wires):
                fresh[output] = sum(known) % 2
            elif kind == "not" and known:
                fresh[output] = 1 - known[0]
        if not fresh:
            break
        values.update(fresh)
        waves.append("".join(sorted(fresh)))
    open_wires = sorted(set(gates) - set(values))
    return {name: values[name] for name in sorted(gates) if name in values}, waves, open_wires
""",
        r"""
{"x": ("and", "a", "b"), "y": ("xor", "x", "c"), "z": ("not", "y")}, {"a": 1, "b": 1, "c": 0}
{}, {"a": 1}
{"q": ("or", "a", "q")}, {"a": 0}
{"q": ("or", "a", "q")}, {"a": 1}
{"s": ("xor", "a", "b"), "c": ("and", "a", "b")}, {"a": 1, "b": 1}
{"m": ("and", "n", "a"), "n": ("not", "o"), "o": ("or", "b", "m")}, {"a": 0, "b": 0}
{"u": ("not", "missing"), "v": ("and", "u", "a")}, {"a": 0}
{"k": ("xor", "a", "b", "c"), "l": ("or", "k", "a"), "m": ("and", "l", "k")}, {"a": 1, "b": 1, "c": 1}
{"p": ("not", "a"), "r": ("not", "p"), "t": ("not", "r")}, {"a": 0}
{"f": ("and", "g", "h"), "g": ("or", "a", "b"), "h": ("not", "a")}, {"a": 0, "b": 1}
""",
        "hard",
    ),
]
