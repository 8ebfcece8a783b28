"""Seeds over dictionaries, sets and counters: grouping, joining, inverting."""

from seed_programs import program

PROGRAMS = [
    program(
        "Keys and values change places; values that were shared gather their keys.",
        r"""
def f(table):
    turned = {}
    for key, value in table.items():
        turned.setdefault(value, []).append(key)
    return {value: keys[0] if len(keys) == 1 else sorted(keys) for value, keys in turned.items()}
""",
        r"""
{"a": 1, "b": 2, "c": 1}
{}
{"x": "y"}
{"one": 1, "uno": 1, "eins": 1, "two": 2}
{1: "odd", 2: "even", 3: "odd"}
{"k": None, "m": None}
{"p": (1, 2), "q": (2, 1)}
{"b": True, "a": True, "c": False}
{10: 0, 20: 5, 30: 0, 40: 5}
{"red": "warm", "blue": "cold", "pink": "warm", "teal": "cold"}
""",
    ),
    program(
        "Bills are settled: who still owes, and who is owed, after all payments have been made among friends?",
        r"""
from collections import defaultdict


def f(payments):
    balance = defaultdict(int)
    for payer, amount, guests in payments:
        share, rest = divmod(amount, len(guests))
        balance[payer] += amount
        for place, guest in enumerate(sorted(guests)):
            balance[guest] -= share + (place < rest)
    return {name: balance[name] for name in sorted(balance) if balance[name]}
""",
        r"""
[("ann", 30, ["ann", "bob", "cid"]), ("bob", 10, ["ann", "bob"])]
[]
[("x", 7, ["x", "y"])]
[("a", 10, ["b"]), ("b", 10, ["a"])]
[("d", 100, ["a", "b", "c"])]
[("m", 5, ["m"]), ("n", 6, ["m", "n"])]
[("k", 11, ["k", "l", "j", "i"]), ("l", 4, ["k", "i"])]
[("p", 1, ["q", "r"])]
[("u", 20, ["u", "v"]), ("v", 20, ["v", "w"]), ("w", 20, ["w", "u"])]
[("z", 0, ["a", "z"]), ("a", 9, ["a", "b", "z"])]
""",
    ),
    program(
        "Two tables about the same keys are merged; a dispute is settled by the type of the values.",
        r"""
def f(mine, yours):
    merged = dict(mine)
    for key, value in yours.items():
        if key not in merged:
            merged[key] = value
        elif isinstance(value, dict) and isinstance(merged[key], dict):
            merged[key] = f(merged[key], value)
        elif isinstance(value, list) and isinstance(merged[key], list):
            merged[key] = merged[key] + [item for item in value if item not in merged[key]]
        elif isinstance(value, (int, float)) and isinstance(merged[key], (int, float)):
            merged[key] += value
        else:
            merged[key] = [merged[key], value]
    return merged
""",
        r"""
{"a": 1, "b": {"x": 1}, "c": [1]}, {"a": 2, "b": {"y": 2}, "c": [1, 3]}
{}, {"k": "v"}
{"k": "v"}, {"k": "w"}
{"n": 1.5}, {"n": 2, "m": 0}
{"deep": {"er": {"n": 1}}}, {"deep": {"er": {"n": 2}}}
{"l": [1, 2]}, {"l": "not a list"}
{"p": None}, {"p": None, "q": []}
{"tags": ["x"], "count": 3}, {"tags": ["y", "x"], "count": -3}
{"s": {"a": [0]}, "t": 1}, {"s": {"a": [0, 0, 2]}, "t": "one"}
{1: 10, 2: 20}, {2: 2, 3: 3}
""",
    ),
    program(
        "Words that are made of the same letters find each other.",
        r"""
def f(words):
    groups = {}
    for word in words:
        signature = "".join(sorted(word.lower()))
        groups.setdefault(signature, set()).add(word)
    shared = [sorted(group) for group in groups.values() if len(group) > 1]
    return sorted(shared, key=lambda group: (-len(group), group))
""",
        r"""
["tea", "ate", "eat", "tan", "nat", "bat"]
["one", "two"]
[]
["Stop", "pots", "tops", "spot", "post"]
["a", "a", "b"]
["listen", "silent", "enlist", "google", "elgoog"]
["ab", "BA", "Ab", "cd", "dc"]
["night", "thing", "star", "rats", "arts"]
["evil", "vile", "live", "veil", "levi", "word"]
["abc", "abcd", "cab", "bca", "dcba"]
""",
    ),
    program(
        "A stock of goods is changed by events; what cannot be done is written down instead.",
        r"""
def f(stock, events):
    stock = dict(stock)
    refused = []
    for kind, item, amount in events:
        have = stock.get(item, 0)
        if kind == "in":
            stock[item] = have + amount
        elif kind == "out" and have >= amount:
            stock[item] = have - amount
            if not stock[item]:
                del stock[item]
        else:
            refused.append((item, amount - have))
    return stock, refused
""",
        r"""
{"nut": 5, "bolt": 2}, [("out", "nut", 5), ("in", "gear", 1), ("out", "bolt", 3)]
{}, [("in", "a", 1), ("in", "a", 2), ("out", "a", 1)]
{"x": 1}, []
{"x": 1}, [("out", "y", 1)]
{"tea": 10, "milk": 4}, [("out", "tea", 4), ("out", "tea", 7), ("in", "tea", 1), ("out", "tea", 7)]
{"pen": 3}, [("lost", "pen", 2)]
{"b": 2, "a": 1}, [("out", "b", 2), ("in", "b", 2)]
{"k": 100}, [("out", "k", 50), ("out", "k", 50), ("out", "k", 50)]
{"u": 0}, [("out", "u", 0), ("out", "v", 0)]
{"egg": 12}, [("out", "egg", 3), ("out", "egg", 4), ("in", "hen", 1), ("out", "egg", 6)]
""",
    ),
    program(
        "Letters of the first text are exchanged for those of the second one by one. Is that a fair exchange in both directions?",
        r"""
def f(first, second):
    forward, backward = {}, {}
    for here, there in zip(first, second):
        if forward.setdefault(here, there) != there:
            return f"{here} would be {forward[here]} and {there}"
        if backward.setdefault(there, here) != here:
            return f"{backward[there]} and {here} would be {there}"
    return dict(sorted(forward.items()))
""",
        r"""
"egg", "add"
"foo", "bar"
"paper", "title"
"badc", "baba"
"", ""
"abc", "ab"
"turtle", "tletur"
"level", "radar"
"noon", "peep"
"12321", "abcba"
""",
    ),
    program(
        "Pupils choose clubs; which pairs of clubs share members, and how many?",
        r"""
from itertools import combinations


def f(members):
    overlap = {}
    for left, right in combinations(sorted(members), 2):
        both = set(members[left]) & set(members[right])
        either = set(members[left]) | set(members[right])
        if both:
            overlap[left + "+" + right] = (len(both), round(len(both) / len(either), 2))
    return overlap
""",
        r"""
{"chess": ["ann", "bob", "cid"], "choir": ["bob", "dee"], "drama": ["ann", "bob"]}
{"a": [1], "b": [2]}
{}
{"only": ["x"]}
{"p": [1, 2, 3], "q": [3, 2, 1]}
{"x": ["k", "k", "l"], "y": ["k"]}
{"art": [], "golf": [], "yoga": ["z"]}
{"m": [1, 2, 3, 4], "n": [4, 5], "o": [5, 1], "k": [9]}
{"tea": ["u", "v", "w"], "milk": ["v", "w", "x"], "salt": ["w", "x", "y"]}
{"odd": [1, 3, 5, 7, 9], "prime": [2, 3, 5, 7], "square": [1, 4, 9]}
""",
    ),
    program(
        "A cache with few places: the entry that was not used for the longest time has to leave.",
        r"""
from collections import OrderedDict


class Cache:
    def __init__(self, size):
        self.size = size
        self.entries = OrderedDict()

    def touch(self, key):
        hit = key in self.entries
        if hit:
            self.entries.move_to_end(key)
        else:
            self.entries[key] = True
            if len(self.entries) > self.size:
                self.entries.popitem(last=False)
        return hit


def f(requests, size):
    cache = Cache(size)
    hits = [cache.touch(request) for request in requests]
    return sum(hits), list(cache.entries)
""",
        r"""
"abacbdab", 2
"aaaa", 1
"", 3
"abcabcabc", 3
[1, 2, 3, 4, 1, 2, 5, 1, 2, 3, 4, 5], 3
[1, 2, 3, 4, 1, 2, 5, 1, 2, 3, 4, 5], 4
"abcdef", 1
["x", "y", "x", "z", "x", "y"], 2
"mississippi", 2
[7, 0, 1, 2, 0, 3, 0, 4], 3
""",
    ),
    program(
        "Readings of sensors, some of them missing: smallest, largest and average for each, and the sensor with the widest spread.",
        r"""
def f(readings):
    seen = {}
    for sensor, value in readings:
        if value is None:
            continue
        low, high, total, count = seen.get(sensor, (value, value, 0, 0))
        seen[sensor] = (min(low, value), max(high, value), total + value, count + 1)
    summary = {sensor: (low, high, round(total / count, 1)) for sensor, (low, high, total, count) in seen.items()}
    widest = max(summary, key=lambda sensor: summary[sensor][1] - summary[sensor][0], default=None)
    return widest, summary
""",
        r"""
[("t1", 20), ("t2", 5), ("t1", 26), ("t2", None), ("t1", 23)]
[]
[("x", None)]
[("a", 1), ("b", 2), ("c", 3)]
[("k", -5), ("k", 5), ("j", 100), ("j", 101)]
[("p", 0.5), ("p", 1.5), ("q", 1.0)]
[("north", 10), ("south", 30), ("north", 12), ("south", 28), ("north", 5)]
[("z", 7), ("z", 7), ("y", 7)]
[("u", 3), ("v", None), ("u", 4), ("u", 6)]
[("m", 1000), ("n", 1), ("m", 999), ("n", 4), ("n", 1)]
""",
    ),
    program(
        "Set algebra with words: each step combines the result so far with another set.",
        r"""
def f(start, steps):
    current = set(start)
    sizes = [len(current)]
    for name, other in steps:
        if name == "add":
            current |= set(other)
        elif name == "keep":
            current &= set(other)
        elif name == "drop":
            current -= set(other)
        else:
            current ^= set(other)
        sizes.append(len(current))
    return sorted(current), sizes
""",
        r"""
[1, 2, 3], [("add", [4]), ("drop", [1, 9]), ("flip", [2, 7])]
[], [("add", [5, 5, 6])]
[1, 2], []
"hello", [("keep", "aeiou"), ("add", "xyz")]
[1, 2, 3, 4, 5, 6], [("keep", [2, 4, 6, 8]), ("flip", [8, 6])]
[0], [("flip", [0]), ("flip", [0])]
["a", "b"], [("drop", ["a", "b"]), ("keep", ["c"])]
[3, 1, 4, 1, 5], [("drop", [1]), ("add", [9, 2, 6]), ("keep", [9, 5, 3])]
[10, 20], [("flip", [20, 30]), ("flip", [30, 40]), ("drop", [10])]
"banana", [("flip", "bandana"), ("add", "q")]
""",
    ),
    program(
        "Follow the renaming of files until it ends; a circle of renamings is reported as such.",
        r"""
def f(renames, names):
    final = {}
    for name in names:
        path = [name]
        while path[-1] in renames:
            following = renames[path[-1]]
            if following in path:
                path = path[path.index(following):]
                final[name] = "circle of " + str(len(path))
                break
            path.append(following)
        else:
            final[name] = path[-1]
    return final
""",
        r"""
{"a": "b", "b": "c", "x": "y", "y": "x"}, ["a", "x", "q"]
{}, ["n"]
{"s": "s"}, ["s"]
{"1": "2", "2": "3", "3": "2"}, ["1", "2", "3"]
{"p": "q"}, []
{"old": "new", "draft": "old", "new": "final"}, ["draft", "old", "new", "final"]
{"k": "l", "l": "m", "m": "n", "n": "k"}, ["k", "m"]
{"u": "v", "w": "v"}, ["u", "w", "v"]
{"a": "b", "b": "a", "c": "a"}, ["c", "b"]
{"x": "y", "y": "z", "z": "z"}, ["x", "z"]
""",
    ),
    program(
        "How does the text go on? Learn which letter follows which, then walk along the most frequent ones.",
        r"""
from collections import Counter, defaultdict


def f(text, start, length):
    following = defaultdict(Counter)
    for here, there in zip(text, text[1:]):
        following[here][there] += 1
    walk = start
    while len(walk) < length and following[walk[-1]]:
        choices = following[walk[-1]]
        walk += max(sorted(choices), key=choices.get)
    return walk
""",
        r"""
"abracadabra", "a", 6
"hello", "h", 10
"", "x", 3
"ababac", "b", 5
"mississippi", "m", 8
"the theme then there", "t", 7
"aab", "b", 4
"xyzxyzxz", "x", 6
"0120130140", "0", 5
"banana split", "n", 9
""",
    ),
    program(
        "A ballot: in each round the weakest candidate leaves and the votes go to the next name on the list.",
        r"""
from collections import Counter


def f(ballots):
    standing = {name for ballot in ballots for name in ballot}
    rounds = []
    while standing:
        tops = [next((name for name in ballot if name in standing), None) for ballot in ballots]
        count = Counter({name: 0 for name in standing})
        count.update(name for name in tops if name)
        rounds.append(dict(sorted(count.items())))
        leader = max(sorted(count), key=count.get)
        if count[leader] * 2 > sum(count.values()):
            return leader, rounds
        standing.remove(min(sorted(count, reverse=True), key=count.get))
    return None, rounds
""",
        r"""
["ABC", "BAC", "CBA", "CAB", "ACB"]
["A"]
[]
["AB", "BA"]
["XY", "YX", "ZY", "ZY", "XZ"]
["PQR", "PRQ", "PQ"]
["AB", "BC", "CA", "AB", "CB", "BA", "CA"]
["D", "C", "B", "A"]
["MN", "NM", "OM", "OM", "MN"]
["KL", "LK", "LM", "ML", "MK"]
""",
    ),
    program(
        "Dotted paths are packed into a tree of dictionaries, or a tree is unpacked into paths.",
        r"""
def f(data):
    if any(isinstance(value, dict) for value in data.values()):
        flat = {}

        def walk(prefix, node):
            for key, value in node.items():
                if isinstance(value, dict):
                    walk(prefix + key + ".", value)
                else:
                    flat[prefix + key] = value

        walk("", data)
        return flat
    tree = {}
    for path, value in data.items():
        *folders, name = path.split(".")
        place = tree
        for folder in folders:
            place = place.setdefault(folder, {})
        place[name] = value
    return tree
""",
        r"""
{"a.b": 1, "a.c.d": 2, "e": 3}
{"a": {"b": 1, "c": {"d": 2}}, "e": 3}
{}
{"x": 1}
{"x": {"y": {"z": "deep"}}}
{"p.q.r.s": None}
{"k": {}, "l": 0}
{"net.ip": "10.0.0.1", "net.port": 80, "log.level": "info"}
{"m": {"n": [1, 2]}, "o": {"p": {"q": True, "r": False}}}
{"one.two": 12, "one.three": 13, "two.three": 23}
""",
    ),
    program(
        "Each sale takes from the oldest purchases first. What did the sold goods cost?",
        r"""
from collections import deque


def f(moves):
    layers = deque()
    cost = 0
    for amount, price in moves:
        if amount > 0:
            layers.append([amount, price])
            continue
        need = -amount
        while need and layers:
            used = min(need, layers[0][0])
            cost += used * layers[0][1]
            need -= used
            layers[0][0] -= used
            if layers[0][0] == 0:
                layers.popleft()
    return cost, [tuple(layer) for layer in layers]
""",
        r"""
[(10, 2), (5, 3), (-12, 0)]
[]
[(-5, 1)]
[(3, 10), (-1, 0), (-1, 0)]
[(1, 1), (1, 2), (1, 3), (-3, 0)]
[(4, 5), (-6, 0), (2, 7)]
[(100, 1), (-30, 9), (50, 2), (-90, 9)]
[(2, 8), (2, 6), (-1, 0), (2, 4), (-4, 0)]
[(7, 3), (-7, 0), (7, 4), (-1, 0)]
[(6, 2), (-2, 0), (3, 5), (-5, 0), (1, 9)]
""",
    ),
    program(
        "Which lessons can be taken in which term? A lesson has to wait for those it builds on.",
        r"""
def f(needs):
    lessons = set(needs) | {before for befores in needs.values() for before in befores}
    term, terms = {}, []
    while len(term) < len(lessons):
        ready = sorted(
            lesson for lesson in lessons
            if lesson not in term and all(before in term for before in needs.get(lesson, []))
        )
        if not ready:
            return terms, sorted(lessons - set(term))
        for lesson in ready:
            term[lesson] = len(terms)
        terms.append(ready)
    return terms, []
""",
        r"""
{"calculus": ["algebra"], "physics": ["calculus"], "logic": []}
{}
{"a": ["b"], "b": ["a"], "c": []}
{"x": ["y", "z"], "y": ["z"]}
{"solo": []}
{"d": ["c"], "c": ["b"], "b": ["a"]}
{"p": ["q"], "r": ["q"], "s": ["p", "r"]}
{"m": ["m"], "n": ["o"]}
{"cook": ["shop"], "eat": ["cook", "lay"], "lay": [], "shop": ["list"]}
{"k3": ["k1", "k2"], "k4": ["k3"], "k5": ["k1"]}
""",
    ),
    program(
        "Count pairs of values by the difference between them, whichever comes first.",
        r"""
def f(values):
    seen = {}
    gaps = {}
    for value in values:
        for other, times in seen.items():
            gap = abs(value - other)
            gaps[gap] = gaps.get(gap, 0) + times
        seen[value] = seen.get(value, 0) + 1
    common = max(gaps.items(), key=lambda item: (item[1], -item[0]), default=(0, 0))
    return common, dict(sorted(gaps.items()))
""",
        r"""
[1, 4, 7, 1]
[]
[5]
[2, 2, 2]
[10, 8, 6, 4]
[0, 100]
[3, -3, 0]
[1, 2, 4, 8, 16]
[9, 9, 10, 10]
[5, 3, 5, 1, 7]
""",
    ),
    program(
        "Ratings of films by people: for one person, whose taste is nearest, and what did they like that this person has not seen?",
        r"""
def f(ratings, person):
    mine = ratings[person]
    nearest = None
    for other, theirs in ratings.items():
        shared = mine.keys() & theirs.keys()
        if other == person or not shared:
            continue
        distance = sum((mine[film] - theirs[film]) ** 2 for film in shared) / len(shared)
        if nearest is None or distance < nearest[0]:
            nearest = (distance, other)
    if nearest is None:
        return None, []
    unseen = [film for film, stars in ratings[nearest[1]].items() if film not in mine and stars >= 4]
    return nearest[1], sorted(unseen)
""",
        r"""
{"ann": {"up": 5, "jaws": 2}, "bob": {"up": 4, "jaws": 2, "heat": 5}, "cid": {"up": 1, "alien": 5}}, "ann"
{"x": {"a": 1}}, "x"
{"x": {"a": 1}, "y": {"b": 5}}, "y"
{"p": {"m": 3}, "q": {"m": 3, "n": 4, "o": 3}, "r": {"m": 3, "k": 5}}, "p"
{"ann": {"up": 5, "jaws": 2}, "bob": {"up": 4, "jaws": 2, "heat": 5}, "cid": {"up": 1, "alien": 5}}, "cid"
{"u": {"s": 2, "t": 4}, "v": {"s": 4, "t": 2, "w": 5}, "z": {"t": 5, "y": 4, "x": 4}}, "u"
{"a": {}, "b": {"f": 5}}, "a"
{"k": {"i": 1, "j": 5}, "l": {"i": 1, "h": 4, "g": 2}, "m": {"j": 4, "e": 5}}, "k"
{"one": {"p": 5, "q": 5}, "two": {"p": 5, "r": 5}, "three": {"q": 4, "s": 4}}, "two"
{"d": {"a": 3, "b": 3, "c": 3}, "e": {"a": 1, "b": 5, "z": 5}, "f": {"c": 4, "y": 5, "x": 3}}, "d"
""",
    ),
    program(
        "An index of the words of a book, with page ranges joined.",
        r"""
def f(pages):
    index = {}
    for number, text in enumerate(pages, 1):
        for word in set(text.lower().split()):
            index.setdefault(word, []).append(number)
    lines = []
    for word in sorted(index):
        ranges = []
        for page in index[word]:
            if ranges and ranges[-1][1] == page - 1:
                ranges[-1][1] = page
            else:
                ranges.append([page, page])
        lines.append(word + " " + ",".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges))
    return lines
""",
        r"""
["the cat", "the dog", "a cat", "the end"]
[]
[""]
["one"]
["x y", "y z", "z x"]
["red", "red", "red", "blue", "red"]
["A a A", "b a"]
["go north", "go south", "stop", "go west"]
["p", "", "p", "p"]
["sum of sums", "sums of squares", "of course"]
""",
    ),
    program(
        "From a multiset of coins, the fewest that pay the price exactly, larger ones first; nothing if that way fails.",
        r"""
def f(purse, price):
    paid = {}
    for coin in sorted(purse, reverse=True):
        used = min(purse[coin], price // coin)
        if used:
            paid[coin] = used
            price -= used * coin
    left = {coin: count - paid.get(coin, 0) for coin, count in purse.items()}
    if price:
        return "short by " + str(price)
    return paid, sum(coin * count for coin, count in left.items())
""",
        r"""
{50: 1, 20: 3, 5: 4, 1: 2}, 87
{10: 1}, 10
{}, 0
{25: 2, 10: 1}, 30
{2: 10, 5: 1}, 9
{100: 1, 1: 5}, 4
{7: 3, 3: 3}, 16
{1: 9}, 10
{20: 2, 10: 2, 2: 5}, 66
{4: 2, 6: 1}, 8
""",
    ),
    program(
        "Permissions come from roles, roles from other roles; a minus sign takes away what was given.",
        r"""
def f(roles, user_roles):
    granted = set()

    def apply(role, seen):
        for item in roles.get(role, []):
            if item.startswith("@"):
                if item not in seen:
                    apply(item[1:], seen | {item})
            elif item.startswith("-"):
                granted.discard(item[1:])
            else:
                granted.add(item)

    for role in user_roles:
        apply(role, {"@" + role})
    return sorted(granted)
""",
        r"""
{"reader": ["read"], "writer": ["@reader", "write"], "guest": ["@writer", "-write"]}, ["guest"]
{"a": ["x"]}, ["a", "b"]
{}, ["admin"]
{"p": ["@q", "one"], "q": ["@p", "two"]}, ["p"]
{"all": ["r", "w", "x"], "safe": ["@all", "-x", "-w"]}, ["safe", "all"]
{"all": ["r", "w", "x"], "safe": ["@all", "-x", "-w"]}, ["all", "safe"]
{"k": ["-read"], "l": ["read"]}, ["l", "k"]
{"dev": ["push", "@ops"], "ops": ["deploy", "@base"], "base": ["login"]}, ["dev"]
{"m": ["@n", "-a", "b"], "n": ["a", "b", "c"]}, ["m"]
{"self": ["@self", "own"]}, ["self"]
""",
    ),
    program(
        "Nested counts: how often does each value stand in each column of the table?",
        r"""
def f(rows):
    columns = {}
    for row in rows:
        for column, value in row.items():
            counts = columns.setdefault(column, {})
            counts[value] = counts.get(value, 0) + 1
    return {
        column: (len(counts), max(counts, key=lambda value: (counts[value], str(value))), len(rows) - sum(counts.values()))
        for column, counts in columns.items()
    }
""",
        r"""
[{"sex": "f", "age": 30}, {"sex": "m"}, {"sex": "f", "age": 41}]
[]
[{}]
[{"a": 1}, {"b": 1}]
[{"x": "p", "y": "q"}, {"x": "p", "y": "r"}, {"y": "r"}]
[{"k": 5}, {"k": 5}, {"k": 6}, {"k": 6}]
[{"t": True}, {"t": False}, {"t": True}]
[{"city": "Rome", "year": 1990}, {"city": "Oslo", "year": 1990}, {"city": "Rome"}]
[{"m": None}, {"m": "None"}]
[{"z": 1, "w": 2}, {"z": 2, "w": 2}, {"z": 3, "w": 1}, {"v": 0}]
""",
    ),
    program(
        "Marriage of keys to free slots: each key hashes to a slot and walks on if it is taken.",
        r"""
def f(keys, size):
    slots = [None] * size
    steps = {}
    for key in keys:
        home = sum(ord(letter) for letter in key) % size
        for distance in range(size):
            place = (home + distance * distance) % size
            if slots[place] in (None, key):
                slots[place] = key
                steps[key] = distance
                break
        else:
            steps[key] = -1
    return slots, steps
""",
        r"""
["a", "k", "u", "b"], 10
["ab", "ba"], 5
[], 2
["x", "x", "x"], 3
["one", "two", "three"], 7
["p", "q", "r", "s"], 3
["cat", "act", "tac", "dog"], 11
["0", "5", ":"], 5
["aa", "bb", "cc"], 4
["zip", "zap", "zop", "zup"], 6
""",
    ),
    program(
        "Who are the friends of friends that are not friends yet, ordered by how many friends they share?",
        r"""
def f(pairs, person):
    friends = {}
    for a, b in pairs:
        friends.setdefault(a, set()).add(b)
        friends.setdefault(b, set()).add(a)
    close = friends.get(person, set())
    shared = {}
    for friend in close:
        for other in friends[friend] - close - {person}:
            shared[other] = shared.get(other, 0) + 1
    return sorted(shared.items(), key=lambda item: (-item[1], item[0]))
""",
        r"""
[("a", "b"), ("a", "c"), ("b", "d"), ("c", "d"), ("c", "e")], "a"
[("a", "b")], "a"
[], "x"
[("a", "b"), ("b", "c"), ("c", "a")], "b"
[("p", "q"), ("q", "r"), ("r", "s")], "p"
[("p", "q"), ("q", "r"), ("r", "s")], "q"
[("u", "v"), ("u", "w"), ("v", "x"), ("w", "x"), ("v", "y"), ("w", "z")], "u"
[("m", "n"), ("n", "m"), ("n", "o")], "m"
[("k", "l"), ("l", "k2"), ("k2", "l2"), ("l2", "k")], "k"
[("h", "i"), ("h", "j"), ("i", "j"), ("j", "g"), ("i", "g"), ("i", "f")], "h"
""",
    ),
    program(
        "An order of letters is learned from words that are already in order; what can be said for certain?",
        r"""
def f(words):
    before = set()
    for first, second in zip(words, words[1:]):
        for a, b in zip(first, second):
            if a != b:
                before.add((a, b))
                break
    grown = True
    while grown:
        more = {(a, d) for a, b in before for c, d in before if b == c} - before
        before |= more
        grown = bool(more)
    if any(a == b for a, b in before):
        return "contradiction"
    return sorted(a + "<" + b for a, b in before)
""",
        r"""
["wrt", "wrf", "er", "ett", "rftt"]
["z", "x", "z"]
[]
["ab", "abc"]
["c", "b", "a"]
["ca", "cb", "da"]
["x"]
["apple", "apricot", "banana"]
["qq", "qp", "pp"]
["ba", "bc", "ac", "cab"]
""",
    ),
    program(
        "Groups of accounts that share an address belong to the same person.",
        r"""
def f(accounts):
    people = []
    for name, addresses in accounts:
        merged = set(addresses)
        names = [name]
        apart = []
        for other_names, others in people:
            if merged & others:
                merged |= others
                names = other_names + names
            else:
                apart.append((other_names, others))
        people = [*apart, (names, merged)]
    return [("/".join(names), sorted(addresses)) for names, addresses in people]
""",
        r"""
[("ann", ["a@x", "b@x"]), ("bob", ["c@x"]), ("anna", ["b@x", "d@x"])]
[]
[("solo", [])]
[("p", ["1"]), ("q", ["2"]), ("r", ["1", "2"])]
[("a", ["k"]), ("a", ["k"])]
[("x", ["m", "n"]), ("y", ["n", "o"]), ("z", ["p"])]
[("u", ["1"]), ("v", ["2"]), ("w", ["3"]), ("t", ["3", "1"])]
[("one", ["e"]), ("two", ["f"]), ("three", ["f", "g"]), ("four", ["g", "e"])]
[("b", ["z", "y"]), ("c", ["x"]), ("d", ["w", "x"])]
[("i", ["q"]), ("j", []), ("k", ["q", "r"])]
""",
    ),
    program(
        "Votes by district decide seats, one after the other, by the highest quotient.",
        r"""
def f(votes, seats):
    won = dict.fromkeys(votes, 0)
    order = ""
    for _ in range(seats):
        party = max(votes, key=lambda name: (votes[name] / (won[name] + 1), votes[name], name))
        won[party] += 1
        order += party
    return won, order
""",
        r"""
{"A": 100, "B": 80, "C": 30, "D": 20}, 8
{"A": 1}, 3
{"X": 50, "Y": 50}, 3
{"P": 10, "Q": 0}, 0
{"P": 10, "Q": 9, "R": 8}, 5
{"K": 340, "L": 280, "M": 160, "N": 60}, 7
{"U": 7, "V": 3}, 4
{"S": 1000, "T": 10}, 6
{"E": 33, "F": 33, "G": 34}, 4
{"H": 61, "I": 39}, 9
""",
    ),
    program(
        "Recipes ask for ingredients which may be recipes themselves; how much of the plain ingredients is needed?",
        r"""
def f(recipes, wanted):
    needed = {}
    todo = list(wanted.items())
    while todo:
        name, amount = todo.pop()
        if name in recipes:
            todo.extend((part, amount * count) for part, count in recipes[name].items())
        else:
            needed[name] = needed.get(name, 0) + amount
    return dict(sorted(needed.items(), key=lambda item: (-item[1], item[0])))
""",
        r"""
{"cake": {"dough": 2, "cream": 1}, "dough": {"flour": 3, "egg": 1}, "cream": {"milk": 2}}, {"cake": 2}
{}, {"salt": 1}
{"a": {"b": 2}}, {}
{"x": {"y": 2, "z": 3}, "y": {"z": 4}}, {"x": 1}
{"set": {"cup": 6, "plate": 6}}, {"set": 2, "cup": 1}
{"bike": {"wheel": 2, "frame": 1}, "wheel": {"spoke": 20, "rim": 1}}, {"bike": 3}
{"p": {"q": 1}, "q": {"r": 1}, "r": {"s": 10}}, {"p": 7}
{"pizza": {"base": 1, "sauce": 2}, "base": {"flour": 5}, "sauce": {"tomato": 4, "flour": 1}}, {"pizza": 1}
{"kit": {"bolt": 8, "nut": 8, "bag": 1}, "bag": {"film": 2}}, {"kit": 5, "bag": 1}
{"tea": {"water": 2, "leaf": 1}}, {"tea": 4, "water": 1, "bun": 8}
""",
    ),
]
