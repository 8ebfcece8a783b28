"""Probes over lists, dictionaries and sets."""

from seed_programs import program

PROGRAMS = [
    program(
        "The ends are added, then the next ones, until the middle is reached.",
        r"""
def f(numbers):
    sums = []
    for i in range((len(numbers) + 1) // 2):
        sums.append(numbers[i] + numbers[-1 - i])
    return sums
""",
        r"""
[1, 2, 3, 4]
[5]
[1, 2, 3]
[10, -10, 5, 5]
[]
[7, 0, 0, 0, 7]
[100, 1, 2, 50]
[3, 6, 9, 12, 15, 18]
[-1, -2, -3]
[8, 8]
""",
        "easy",
    ),
    program(
        "A number stays if it is larger than its place in the list.",
        r"""
def f(numbers):
    kept = [number for place, number in enumerate(numbers) if number > place]
    return kept, len(numbers) - len(kept)
""",
        r"""
[3, 0, 5, 1]
[0, 1, 2, 3]
[9, 8, 7]
[]
[1, 1, 1, 1]
[5, 4, 3, 2, 1]
[-1, 2, 2, 10, 4]
[0]
[2, 2, 4, 4, 6, 6]
[10, 0, 10, 0]
""",
        "easy",
    ),
    program(
        "Two lists are compared place by place; who is ahead more often?",
        r"""
def f(first, second):
    score = {"first": 0, "second": 0, "draw": 0}
    for a, b in zip(first, second):
        if a > b:
            score["first"] += 1
        elif b > a:
            score["second"] += 1
        else:
            score["draw"] += 1
    return score
""",
        r"""
[1, 5, 3], [2, 4, 3]
[], [1]
[9, 9], [1, 1]
[1, 2, 3, 4], [4, 3, 2, 1]
["b", "a"], ["a", "a"]
[0], [0]
[7, 7, 7], [7, 8, 7, 9]
[5, 6], [6, 7]
[-1, -2, -3], [-3, -2, -1]
[10, 20, 30, 40, 50], [15, 15, 35, 35, 50]
""",
        "easy",
    ),
    program(
        "Prices are raised, but only those in the list, and never above the limit.",
        r"""
def f(prices, names, limit):
    for name in names:
        if name in prices:
            prices[name] = min(prices[name] + 10, limit)
    return prices
""",
        r"""
{"tea": 20, "bun": 35}, ["tea"], 40
{"a": 1}, ["b"], 5
{"pen": 95, "cap": 50}, ["pen", "cap"], 100
{}, ["x"], 9
{"milk": 12, "egg": 3}, ["egg", "egg", "egg"], 30
{"hat": 70}, ["hat"], 60
{"p": 1, "q": 2, "r": 3}, ["r", "p"], 12
{"jam": 44, "oil": 80}, [], 50
{"ink": 5}, ["ink", "pad", "ink"], 100
{"soap": 18, "comb": 29}, ["comb", "soap"], 33
""",
        "easy",
    ),
    program(
        "Everything that stands between zeros is added up.",
        r"""
def f(numbers):
    parts = [0]
    for number in numbers:
        if number == 0:
            parts.append(0)
        else:
            parts[-1] += number
    return parts
""",
        r"""
[1, 2, 0, 3, 0, 4, 5]
[0]
[7, 7]
[0, 0, 5]
[]
[1, -1, 0, 2, -2, 0, 9]
[10, 0, 20, 30, 0]
[3, 0, 0, 3]
[-5, 0, 5]
[4, 4, 4, 0, 4, 4, 0, 4]
""",
        "easy",
    ),
    program(
        "The keys whose values are the largest of all.",
        r"""
def f(scores):
    top = max(scores.values())
    winners = [name for name in scores if scores[name] == top]
    return "".join(sorted(winners)) + str(top)
""",
        r"""
{"a": 3, "b": 5, "c": 5}
{"x": 0}
{"q": -2, "p": -1}
{"m": 7, "l": 7, "k": 7}
{"b": 10, "a": 9}
{"u": 4, "v": 8, "w": 6}
{"z": 1, "y": 1}
{"d": 100, "e": 99, "f": 100}
{"i": 2, "j": 12}
{"r": 5, "s": 3, "t": 4}
""",
        "easy",
    ),
    program(
        "Count down through the list: each number tells how many of the following ones to leave out.",
        r"""
def f(numbers):
    taken = []
    i = 0
    while i < len(numbers):
        taken.append(numbers[i])
        i += 1 + abs(numbers[i])
    return taken
""",
        r"""
[1, 9, 0, 2, 8, 7, 3]
[0, 0, 0]
[5, 1, 2]
[]
[2, 2, 2, 2, 2, 2]
[-1, 4, 1, 4, 0, 6]
[1, 1, 1, 1, 1]
[0, 3, 1, 1, 1, 0]
[3, 0, 0, 0, 1, 5, 2]
[4, 3, 2, 1, 0]
""",
        "easy",
    ),
    program(
        "Students are put into teams so that the strongest joins the weakest team so far.",
        r"""
def f(students, count):
    teams = [[] for _ in range(count)]
    strength = [0] * count
    for name in sorted(students, key=lambda name: (-students[name], name)):
        weakest = strength.index(min(strength))
        teams[weakest].append(name)
        strength[weakest] += students[name]
    return teams, max(strength) - min(strength)
""",
        r"""
{"ann": 9, "bob": 7, "cid": 4, "dee": 3, "eva": 1}, 2
{"x": 5}, 2
{}, 3
{"a": 1, "b": 1, "c": 1, "d": 1}, 2
{"p": 10, "q": 1, "r": 1, "s": 1}, 2
{"k": 8, "l": 6, "m": 5, "n": 3}, 3
{"one": 1, "two": 2, "three": 3}, 1
{"u": 20, "v": 18, "w": 17, "y": 2, "z": 1}, 3
{"g": 4, "h": 4, "i": 8}, 2
{"e": 7, "f": 9, "d": 5, "c": 5, "b": 3, "a": 1}, 2
""",
        "medium",
    ),
    program(
        "Strokes on a wall: later ones paint over earlier ones. Which colours can be seen, and how much of each?",
        r"""
def f(strokes):
    wall = {}
    for start, length, colour in strokes:
        for place in range(start, start + length):
            wall[place] = colour
    seen = {}
    for place in sorted(wall):
        colour = wall[place]
        seen[colour] = seen.get(colour, 0) + 1
    hidden = [colour for _, _, colour in strokes if colour not in seen]
    return seen, hidden
""",
        r"""
[(0, 5, "red"), (3, 4, "blue"), (1, 1, "green")]
[]
[(0, 2, "a"), (0, 2, "b")]
[(5, 3, "x"), (1, 3, "y"), (3, 3, "z")]
[(0, 10, "white"), (2, 2, "black"), (6, 2, "black")]
[(-3, 6, "p"), (-1, 2, "q")]
[(4, 0, "none"), (4, 1, "one")]
[(1, 3, "u"), (2, 3, "v"), (3, 3, "w"), (4, 3, "u")]
[(0, 1, "k"), (1, 1, "l"), (0, 2, "m"), (1, 1, "k")]
[(7, 2, "tan"), (8, 2, "tan"), (6, 1, "sky")]
""",
        "medium",
    ),
    program(
        "Elements are thrown away from the longer side until the two lists weigh the same, or one is empty.",
        r"""
def f(left, right):
    left, right = list(left), list(right)
    dropped = []
    while left and right and sum(left) != sum(right):
        if sum(left) > sum(right):
            dropped.append(left.pop())
        else:
            dropped.append(-right.pop())
    return left, right, dropped
""",
        r"""
[5, 3, 2], [4, 4, 4]
[1], [1]
[], [3]
[10, 1], [2, 3]
[1, 2, 3], [3, 2, 1]
[7, 7], [7, 5, 2, 9]
[2, 2, 2, 2], [1, 1, 1]
[6], [1, 2, 3, 4]
[9, 1, 1, 1], [5, 4, 3]
[20, 5], [10, 10, 5, 5]
""",
        "medium",
    ),
    program(
        "A guest list: people come and go, friends bring friends along, enemies make each other leave.",
        r"""
def f(arrivals, friends, enemies):
    party = []
    for guest in arrivals:
        coming = [guest, *(friend for friend in friends.get(guest, []) if friend not in party)]
        for person in coming:
            if person in party:
                continue
            party = [other for other in party if enemies.get(other) != person]
            party.append(person)
    return party
""",
        r"""
["ann", "bob", "cid"], {"bob": ["dee"]}, {"ann": "cid"}
["x"], {}, {}
[], {"a": ["b"]}, {}
["p", "q", "r"], {"p": ["q"]}, {"q": "r", "p": "r"}
["a", "b"], {"a": ["c", "d"], "b": ["a"]}, {"c": "b"}
["k", "l", "k"], {}, {"k": "l"}
["m", "n"], {"n": ["m", "o"]}, {"m": "n"}
["u", "v", "w"], {"w": ["u"]}, {"u": "v", "v": "w"}
["one", "two"], {"one": ["three"], "two": ["four"]}, {"three": "four"}
["g", "h"], {"g": ["g"]}, {"g": "g"}
""",
        "medium",
    ),
    program(
        "Numbers in a row collect their smaller neighbours, from the largest to the smallest.",
        r"""
def f(numbers):
    owner = list(range(len(numbers)))
    gained = [0] * len(numbers)
    for i in sorted(range(len(numbers)), key=lambda i: (-numbers[i], i)):
        for j in (i - 1, i + 1):
            if 0 <= j < len(numbers) and owner[j] == j and numbers[j] < numbers[i] and owner[i] == i:
                owner[j] = i
                gained[i] += numbers[j]
    return owner, gained
""",
        r"""
[3, 9, 4, 1, 5]
[1]
[]
[2, 2, 2]
[5, 4, 3, 2, 1]
[1, 2, 3, 4]
[7, 1, 7, 1, 7]
[10, 20, 5, 15]
[0, -1, 0]
[6, 8, 6, 8, 6, 9]
""",
        "medium",
    ),
    program(
        "A table is turned on its side: from rows with names to one list for each name, with a filler where something is missing.",
        r"""
def f(rows, filler):
    names = []
    for row in rows:
        names += [name for name in row if name not in names]
    columns = {name: [row.get(name, filler) for row in rows] for name in sorted(names)}
    full = [name for name, column in columns.items() if filler not in column]
    return columns, full
""",
        r"""
[{"a": 1, "b": 2}, {"b": 3}, {"c": 4, "a": 5}], 0
[], 0
[{}], None
[{"x": 1}], 1
[{"k": "v"}, {"k": "w"}], "-"
[{"p": 1}, {"q": 2}], -1
[{"b": 0, "a": 1}, {"a": 2, "b": 3}], 0
[{"n": 7}, {}, {"n": 8}], None
[{"u": 1, "v": 2, "w": 3}, {"v": 5}], 9
[{"one": 1}, {"one": 1, "two": 2}, {"one": 1, "three": 3}], "?"
""",
        "medium",
    ),
    program(
        "Waves of change: each number moves toward the average of its two neighbours by at most one, all at the same time.",
        r"""
def f(numbers, rounds):
    row = list(numbers)
    for _ in range(rounds):
        goal = [(row[i - 1] + row[(i + 1) % len(row)]) // 2 for i in range(len(row))]
        moved = [number + (number < wish) - (number > wish) for number, wish in zip(row, goal)]
        if moved == row:
            break
        row = moved
    return row, max(row) - min(row)
""",
        r"""
[0, 10, 0, 0], 3
[5], 4
[1, 2, 3, 4, 5], 2
[8, 8, 8], 9
[-4, 4], 5
[9, 0, 9, 0, 9, 0], 2
[3, 7, 1], 10
[100, 0, 0], 1
[2, 5, 2, 5], 0
[6, 1, 8, 3, 4], 4
""",
        "medium",
    ),
    program(
        "Which numbers are missing so that each number's double is present as well, without going above the limit?",
        r"""
def f(numbers, limit):
    present = set(numbers)
    added = []
    for number in sorted(present):
        double = number * 2
        while 0 < double <= limit and double not in present:
            present.add(double)
            added.append(double)
            double *= 2
    chains = sum(number % 2 == 1 or number // 2 not in present for number in present)
    return sorted(added), len(present), chains
""",
        r"""
[1, 3], 12
[5], 9
[], 10
[2, 4, 8], 32
[7, 14], 30
[1], 64
[6, 10, 15], 40
[0, 1], 4
[3, 12], 24
[9, 11, 18], 50
""",
        "medium",
    ),
    program(
        "A rota: workers take shifts in turns, nobody works twice in a row, and absent ones are skipped.",
        r"""
def f(workers, days):
    plan, counts = [], {worker: 0 for worker in workers}
    previous = None
    for absent in days:
        options = [worker for worker in workers if worker not in absent and worker != previous]
        if not options:
            plan.append("-")
            previous = None
            continue
        chosen = min(options, key=lambda worker: (counts[worker], workers.index(worker)))
        counts[chosen] += 1
        plan.append(chosen)
        previous = chosen
    return "".join(plan), counts
""",
        r"""
"ABC", ["", "B", "", "AC", ""]
"A", ["", "", ""]
"XY", []
"KLM", ["KLM", "", "K", "K", "K"]
"PQ", ["", "", "P", "", "Q", "Q"]
"ABCD", ["", "", "", "", "", ""]
"UVW", ["V", "V", "V", "U"]
"MN", ["M", "M", "N"]
"HIJ", ["", "H", "HI", "HIJ", ""]
"RS", ["", "R", "", "S", ""]
""",
        "medium",
    ),
    program(
        "A chain of numbers folds like paper: the right half comes under the left half, turned over, and the sums are taken.",
        r"""
def f(strip, folds):
    layers = [[number] for number in strip]
    for fold in folds:
        cut = max(1, min(len(layers) - 1, fold)) if len(layers) > 1 else 0
        if not cut:
            break
        left, right = layers[:cut], layers[cut:][::-1]
        width = max(len(left), len(right))
        left = [[] for _ in range(width - len(left))] + left
        right = [[] for _ in range(width - len(right))] + right
        layers = [a + b[::-1] for a, b in zip(left, right)]
    return layers, [sum(layer) for layer in layers]
""",
        r"""
[1, 2, 3, 4], [2]
[1, 2, 3, 4], [2, 1]
[5], [3]
[1, 2, 3, 4, 5], [1]
[9, 8, 7], [2]
[1, 2, 3, 4, 5, 6, 7, 8], [4, 2, 1]
[0, 1, 0, 1], []
[10, 20, 30, 40, 50, 60], [4, 2]
[2, 4], [1]
[3, 1, 4, 1, 5, 9], [5, 3]
""",
        "hard",
    ),
    program(
        "An auction over several rounds: bidders have budgets and wishes; each lot goes to the highest bid at the price of the second.",
        r"""
def f(lots, bidders):
    budgets = {name: money for name, (money, _) in bidders.items()}
    sold = {}
    for lot, least in lots:
        bids = []
        for name, (_, wishes) in bidders.items():
            offer = min(budgets[name], wishes.get(lot, 0))
            if offer >= least:
                bids.append((-offer, name))
        if not bids:
            sold[lot] = None
            continue
        bids.sort()
        winner = bids[0][1]
        price = -bids[1][0] if len(bids) > 1 else least
        budgets[winner] -= price
        sold[lot] = (winner, price)
    return sold, budgets
""",
        r"""
[("vase", 10), ("lamp", 5)], {"ann": (50, {"vase": 40, "lamp": 30}), "bob": (35, {"vase": 35, "lamp": 20})}
[("a", 1)], {}
[], {"x": (5, {})}
[("p", 5), ("q", 5)], {"u": (8, {"p": 8, "q": 8}), "v": (7, {"p": 6, "q": 7})}
[("k", 20)], {"m": (15, {"k": 50})}
[("one", 0)], {"s": (3, {"one": 3}), "r": (3, {"one": 3})}
[("art", 7), ("art", 7)], {"g": (20, {"art": 9})}
[("x", 1), ("y", 1), ("z", 1)], {"h": (6, {"x": 4, "y": 4, "z": 4}), "i": (6, {"x": 3, "y": 5, "z": 6})}
[("n", 2)], {"d": (9, {"o": 9}), "e": (1, {"n": 9})}
[("t", 3), ("w", 6)], {"b": (10, {"t": 10, "w": 10}), "c": (10, {"t": 9, "w": 8}), "f": (4, {"t": 4})}
""",
        "hard",
    ),
    program(
        "Each new book goes to the fullest shelf that still has room; books are given back by name, and empty shelves vanish.",
        r"""
def f(width, events):
    shelves = []
    for name, size in events:
        if size == 0:
            for shelf in shelves:
                shelf.pop(name, None)
            shelves = [shelf for shelf in shelves if shelf]
            continue
        best = None
        for shelf in shelves:
            used = sum(shelf.values())
            if used + size <= width and (best is None or used > sum(best.values())):
                best = shelf
        if best is None:
            best = {}
            shelves.append(best)
        best[name] = size
    return [(list(shelf), width - sum(shelf.values())) for shelf in shelves]
""",
        r"""
10, [("a", 6), ("b", 5), ("c", 4), ("a", 0), ("d", 5)]
5, []
8, [("x", 8), ("y", 1)]
10, [("p", 3), ("q", 4), ("r", 5), ("s", 2), ("q", 0), ("t", 7)]
6, [("k", 2), ("l", 2), ("m", 2), ("k", 0), ("l", 0), ("m", 0)]
9, [("u", 5), ("v", 5), ("w", 4), ("z", 3)]
4, [("big", 7), ("bit", 1)]
12, [("e", 7), ("f", 6), ("g", 5), ("h", 6), ("e", 0), ("i", 1)]
10, [("n", 0), ("n", 3), ("n", 4)]
7, [("one", 3), ("two", 5), ("six", 2), ("ten", 4), ("two", 0), ("six", 0)]
""",
        "hard",
    ),
    program(
        "Sets of tags are joined when they overlap in at least so many tags, again and again; what are the final groups?",
        r"""
def f(sets, least):
    groups = [frozenset(s) for s in sets]
    rounds = 0
    joined = True
    while joined:
        joined = False
        for i in range(len(groups)):
            for j in range(i + 1, len(groups)):
                if len(groups[i] & groups[j]) >= least:
                    merged = groups[i] | groups[j]
                    groups = [g for k, g in enumerate(groups) if k not in (i, j)] + [merged]
                    joined = True
                    rounds += 1
                    break
            if joined:
                break
    return ["".join(sorted(group)) for group in sorted(groups, key=lambda g: (-len(g), sorted(g)))], rounds
""",
        r"""
["abc", "bcd", "xyz", "de"], 2
["ab", "bc", "cd"], 1
[], 1
["abc", "abd", "acd"], 3
["pq", "qp", "rs"], 2
["abcd", "cdef", "efgh", "gh"], 2
["k", "l", "m"], 0
["one", "two", "neo"], 2
["aa", "a", "ba"], 1
["uvw", "vwx", "wxy", "xyz"], 2
""",
        "hard",
    ),
    program(
        "A spreadsheet: cells hold numbers, sums of other cells, or copies; find all values, or the cells that chase their own tail.",
        r"""
def f(cells):
    values, active, broken = {}, [], set()

    def value(name):
        if name in values:
            return values[name]
        if name in active:
            broken.update(active[active.index(name):])
            return 0
        active.append(name)
        content = cells.get(name, 0)
        if isinstance(content, str):
            result = value(content)
        elif isinstance(content, list):
            result = sum(value(part) for part in content)
        else:
            result = content
        active.pop()
        if name not in broken:
            values[name] = result
        return result

    for name in sorted(cells):
        value(name)
    return {name: values[name] for name in sorted(values)}, sorted(broken)
""",
        r"""
{"a": 1, "b": ["a", "a"], "c": "b", "d": ["c", "e"]}
{}
{"x": "x"}
{"p": "q", "q": "p", "r": 5}
{"m": ["n", "o"], "n": 2, "o": ["n", "n", "n"]}
{"u": ["v"], "v": ["w"], "w": ["u", "t"], "t": 9}
{"k": "missing", "l": ["k", "j"], "j": -4}
{"a1": 10, "a2": 20, "a3": ["a1", "a2"], "b1": ["a3", "a3", "a1"]}
{"s": [], "z": ["s", "s"]}
{"e": ["f", "g"], "f": "g", "g": 7, "h": ["h", "g"]}
""",
        "hard",
    ),
]
