"""Seeds that recur or fill tables: backtracking, memoisation, dynamic programming, games."""

from seed_programs import program

PROGRAMS = [
    program(
        "All subsets with a given sum, in the order in which a cautious searcher finds them.",
        r"""
def f(numbers, target):
    found = []

    def search(i, left, chosen):
        if left == 0 and chosen:
            found.append(chosen)
        for k in range(i, len(numbers)):
            if numbers[k] <= left:
                search(k + 1, left - numbers[k], [*chosen, numbers[k]])

    search(0, target, [])
    return found
""",
        r"""
[2, 3, 5, 6, 8], 8
[1, 1, 1], 2
[], 3
[4, 4], 5
[7], 7
[1, 2, 3, 4, 5], 6
[10, 1, 2, 7, 6, 5], 8
[3, 3, 6], 6
[9, 5, 4, 1], 10
[2, 4, 6, 8], 7
""",
    ),
    program(
        "A tower is moved from peg to peg; the function lists the moves, or as many as fit.",
        r"""
def f(disks, source, target):
    moves = []

    def move(n, a, b):
        if n == 0:
            return
        spare = 6 - a - b
        move(n - 1, a, spare)
        moves.append(f"{n}:{a}>{b}")
        move(n - 1, spare, b)

    move(disks, source, target)
    return len(moves), moves[:7], moves[-2:]
""",
        r"""
3, 1, 3
1, 2, 3
0, 1, 2
2, 3, 1
4, 1, 2
5, 2, 1
3, 3, 2
2, 1, 2
6, 1, 3
4, 2, 3
""",
    ),
    program(
        "In how many ways can the amount be paid with these coins, when order does not matter? Also the smallest number of coins.",
        r"""
def f(coins, amount):
    ways = [1] + [0] * amount
    fewest = [0] + [None] * amount
    for coin in coins:
        for value in range(coin, amount + 1):
            ways[value] += ways[value - coin]
            before = fewest[value - coin]
            if before is not None and (fewest[value] is None or before + 1 < fewest[value]):
                fewest[value] = before + 1
    return ways[amount], fewest[amount]
""",
        r"""
[1, 2, 5], 11
[2], 3
[10, 20], 0
[1], 7
[3, 5], 7
[1, 5, 10, 25], 30
[4, 6, 9], 25
[7, 2], 16
[], 4
[1, 3, 4], 6
""",
    ),
    program(
        "The longest common subsequence of two texts, recovered from the table of lengths.",
        r"""
def f(a, b):
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i in range(len(a)):
        for j in range(len(b)):
            if a[i] == b[j]:
                table[i + 1][j + 1] = table[i][j] + 1
            else:
                table[i + 1][j + 1] = max(table[i][j + 1], table[i + 1][j])
    i, j, common = len(a), len(b), ""
    while i and j:
        if a[i - 1] == b[j - 1]:
            common = a[i - 1] + common
            i, j = i - 1, j - 1
        elif table[i - 1][j] >= table[i][j - 1]:
            i -= 1
        else:
            j -= 1
    return common
""",
        r"""
"AGGTAB", "GXTXAYB"
"abc", "abc"
"", "x"
"abcdef", "fedcba"
"kitten", "sitting"
"banana", "atana"
"XMJYAUZ", "MZJAWXU"
"hello", "world"
"1234554321", "135531"
"nematode", "empty bottle"
""",
    ),
    program(
        "A longest rising selection from the list (elements need not be neighbours).",
        r"""
from bisect import bisect_left


def f(numbers):
    tails, places, before = [], [], [None] * len(numbers)
    for i, number in enumerate(numbers):
        k = bisect_left(tails, number)
        if k == len(tails):
            tails.append(number)
            places.append(i)
        else:
            tails[k], places[k] = number, i
        before[i] = places[k - 1] if k else None
    chain = []
    at = places[-1] if places else None
    while at is not None:
        chain.append(numbers[at])
        at = before[at]
    return chain[::-1], tails
""",
        r"""
[10, 9, 2, 5, 3, 7, 101, 18]
[1, 2, 3]
[3, 2, 1]
[]
[0, 1, 0, 3, 2, 3]
[7, 7, 7]
[4, 10, 4, 3, 8, 9]
[5, 1, 6, 2, 7, 3, 8]
[2, 5, 3, 7, 11, 8, 10, 13, 6]
[-1, -5, 0, -3, 2]
""",
    ),
    program(
        "Pack the bag: weights and values are given; which things are taken for the most value?",
        r"""
def f(things, capacity):
    best = {0: (0, ())}
    for name, weight, value in things:
        for load, (worth, names) in list(best.items()):
            heavier = load + weight
            if heavier <= capacity and best.get(heavier, (-1, ()))[0] < worth + value and name not in names:
                best[heavier] = (worth + value, (*names, name))
    load = max(best, key=lambda load: (best[load][0], -load))
    return load, best[load][0], list(best[load][1])
""",
        r"""
[("pot", 3, 4), ("book", 2, 3), ("lamp", 4, 6), ("rope", 1, 1)], 6
[], 5
[("gold", 10, 100)], 9
[("a", 1, 1), ("b", 1, 2), ("c", 1, 3)], 2
[("x", 5, 10), ("y", 4, 40), ("z", 6, 30), ("w", 3, 50)], 10
[("tent", 7, 9), ("stove", 3, 5), ("map", 1, 4)], 8
[("p", 2, 3), ("q", 3, 4), ("r", 4, 5), ("s", 5, 6)], 5
[("m", 2, 2), ("n", 2, 2)], 4
[("k", 6, 7), ("l", 5, 6), ("j", 5, 6)], 10
[("tea", 1, 1), ("cup", 2, 6), ("pan", 5, 18), ("oven", 6, 22), ("sink", 7, 28)], 11
""",
    ),
    program(
        "Cut the text into words from the dictionary, in every way there is.",
        r"""
from functools import lru_cache


def f(text, words):
    @lru_cache(maxsize=None)
    def cuts(start):
        if start == len(text):
            return ("",)
        found = []
        for word in sorted(words):
            if word and text.startswith(word, start):
                found.extend((word + " " + rest).strip() for rest in cuts(start + len(word)))
        return tuple(found)

    return list(cuts(0))
""",
        r"""
"catsanddog", ["cat", "cats", "and", "sand", "dog"]
"aaa", ["a", "aa"]
"", ["x"]
"leetcode", ["leet", "code", "le"]
"abc", ["ab", "bc"]
"pineapplepen", ["apple", "pen", "pine", "pineapple"]
"nowhere", ["no", "now", "here", "where"]
"themend", ["the", "them", "mend", "end", "men", "d"]
"101", ["1", "0", "10", "01"]
"godisnowhere", ["god", "is", "now", "here", "nowhere"]
""",
    ),
    program(
        "How many ways lead up the stairs, with the allowed step sizes and some broken stairs? The last few counts are shown.",
        r"""
def f(stairs, steps, broken):
    ways = [0] * (stairs + 1)
    ways[0] = 1
    for here in range(1, stairs + 1):
        if here in broken:
            continue
        ways[here] = sum(ways[here - step] for step in steps if step <= here)
    return ways[stairs], ways[-4:]
""",
        r"""
6, [1, 2], []
6, [1, 2], [3]
0, [1], []
5, [2], []
10, [1, 3, 5], [4]
8, [1, 2, 3], [2, 5]
4, [1, 2], [2, 3]
12, [3, 4], []
7, [1, 7], [6]
20, [1, 2], [10]
""",
    ),
    program(
        "Queens that cannot attack each other: how many ways, and the first one found?",
        r"""
def f(size, start):
    solutions = []

    def place(columns):
        row = len(columns)
        if row == size:
            solutions.append(columns)
            return
        for column in range(size):
            if all(column != c and abs(column - c) != row - r for r, c in enumerate(columns)):
                place([*columns, column])

    place([start])
    return len(solutions), solutions[0] if solutions else []
""",
        r"""
6, 1
4, 0
4, 1
5, 0
1, 0
3, 1
5, 2
6, 4
7, 3
6, 0
""",
    ),
    program(
        "Write the arithmetic of the expression tree in the usual way, with brackets only where they are needed, and its value.",
        r"""
def f(tree):
    strength = {"+": 1, "-": 1, "*": 2}

    def show(node, needed):
        if isinstance(node, int):
            return str(node), node
        symbol, left, right = node
        own = strength[symbol]
        a, x = show(left, own)
        b, y = show(right, own + (symbol == "-"))
        value = x + y if symbol == "+" else x - y if symbol == "-" else x * y
        text = f"{a} {symbol} {b}"
        return (f"({text})" if own < needed else text), value

    return show(tree, 0)
""",
        r"""
("*", ("+", 1, 2), ("-", 7, 3))
5
("-", 1, ("-", 2, 3))
("-", ("-", 1, 2), 3)
("+", 1, ("*", 2, 3))
("*", ("*", 2, 3), 4)
("*", 2, ("+", 3, ("*", 4, 5)))
("-", ("+", 10, 5), ("*", 2, 6))
("+", ("-", 4, 9), ("-", 8, 2))
("*", ("-", 0, 3), ("*", ("+", 1, 1), 7))
""",
    ),
    program(
        "Leaves and inner nodes of a nested tuple: depth, number of leaves, and the path to the largest leaf.",
        r"""
def f(tree):
    if not isinstance(tree, tuple):
        return 0, 1, tree, ""
    depth, leaves, best, path = 0, 0, None, ""
    for direction, branch in zip("LMR", tree):
        d, n, value, p = f(branch)
        depth = max(depth, d + 1)
        leaves += n
        if value is not None and (best is None or value > best):
            best, path = value, direction + p
    return depth, leaves, best, path
""",
        r"""
((3, 8), (5, (1, 9)))
7
(1, 2, 3)
()
((), 4)
(((10,),),)
((1, 1), 1)
((6, (2, 7)), ((7, 0), 5), 3)
(-3, (-2, -5), -4)
((9, 2), (9, (4, 4), 8), (1, 9))
""",
    ),
    program(
        "Two players take one or more stones from one heap (at most as many as allowed); the last stone wins. Which first moves win?",
        r"""
def f(heap, allowed):
    winning = [False] * (heap + 1)
    for stones in range(1, heap + 1):
        winning[stones] = any(take <= stones and not winning[stones - take] for take in allowed)
    moves = [take for take in allowed if take <= heap and not winning[heap - take]]
    lost = [stones for stones in range(heap + 1) if not winning[stones]]
    return moves, lost
""",
        r"""
10, [1, 2, 3]
12, [1, 2, 3]
0, [1]
7, [1, 3, 4]
9, [2, 5]
15, [1, 4, 5]
6, [6]
11, [3, 1]
20, [2, 3, 7]
5, []
""",
    ),
    program(
        "Two players take from either end of a row of coins; both play perfectly. By how much does the first one win?",
        r"""
from functools import lru_cache


def f(coins):
    @lru_cache(maxsize=None)
    def lead(i, j):
        if i == j:
            return 0
        return max(coins[i] - lead(i + 1, j), coins[j - 1] - lead(i, j - 1))

    i, j, moves = 0, len(coins), ""
    while i < j:
        if coins[i] - lead(i + 1, j) >= coins[j - 1] - lead(i, j - 1):
            moves, i = moves + "L", i + 1
        else:
            moves, j = moves + "R", j - 1
    return lead(0, len(coins)), moves
""",
        r"""
[3, 9, 1, 2]
[5]
[]
[1, 5, 233, 7]
[2, 2, 2]
[8, 15, 3, 7]
[20, 30, 2, 2, 2, 10]
[1, 100, 1]
[4, 4, 9, 4]
[6, 1, 1, 6, 5]
""",
    ),
    program(
        "Brackets in balance: all well-formed strings with so many pairs that are nested no deeper than allowed.",
        r"""
def f(pairs, deepest):
    complete = []

    def extend(text, opened, closed):
        if closed == pairs:
            complete.append(text)
            return
        if opened < pairs and opened - closed < deepest:
            extend(text + "(", opened + 1, closed)
        if closed < opened:
            extend(text + ")", opened, closed + 1)

    extend("", 0, 0)
    return len(complete), complete[:6]
""",
        r"""
3, 3
3, 1
0, 2
4, 2
2, 2
5, 3
1, 1
4, 4
3, 2
6, 2
""",
    ),
    program(
        "The partitions of a number into parts that all differ, none smaller than allowed.",
        r"""
def f(total, smallest):
    def parts(left, least):
        if left == 0:
            return [[]]
        result = []
        for first in range(least, left + 1):
            for rest in parts(left - first, first + 1):
                result.append([first, *rest])
        return result

    found = parts(total, smallest)
    longest = max(found, key=len, default=[])
    return len(found), longest, found[-3:]
""",
        r"""
10, 1
6, 2
1, 1
0, 1
5, 6
15, 3
12, 1
9, 4
20, 5
7, 1
""",
    ),
    program(
        "Ackermann's cousin: a very steep recursion, watched by a counter.",
        r"""
def f(m, n):
    calls = 0
    deepest = 0

    def grow(m, n, depth):
        nonlocal calls, deepest
        calls += 1
        deepest = max(deepest, depth)
        if m == 0:
            return n + 1
        if n == 0:
            return grow(m - 1, 1, depth + 1)
        return grow(m - 1, grow(m, n - 1, depth + 1), depth + 1)

    return grow(m, n, 1), calls, deepest
""",
        r"""
2, 2
0, 5
1, 0
1, 4
2, 0
2, 5
3, 1
3, 2
1, 1
0, 0
""",
    ),
    program(
        "Mutual recursion: two functions count each other's terms.",
        r"""
def f(n):
    memo = {}

    def female(k):
        if ("f", k) not in memo:
            memo["f", k] = 1 if k == 0 else k - male(female(k - 1))
        return memo["f", k]

    def male(k):
        if ("m", k) not in memo:
            memo["m", k] = 0 if k == 0 else k - female(male(k - 1))
        return memo["m", k]

    pairs = [(female(k), male(k)) for k in range(n + 1)]
    return pairs[-3:], [k for k, (a, b) in enumerate(pairs) if a != b]
""",
        r"""
5
0
1
2
10
15
20
3
30
12
""",
    ),
    program(
        "A robot in a grid walks right and down only; walls are in its way. How many routes, and how many cells can it reach?",
        r"""
def f(height, width, walls):
    walls = {tuple(wall) for wall in walls}
    routes = {(0, 0): 1} if (0, 0) not in walls else {}
    for r in range(height):
        for c in range(width):
            if (r, c) in walls or (r, c) == (0, 0):
                continue
            count = routes.get((r - 1, c), 0) + routes.get((r, c - 1), 0)
            if count:
                routes[r, c] = count
    return routes.get((height - 1, width - 1), 0), len(routes)
""",
        r"""
3, 3, [(1, 1)]
1, 1, []
2, 2, [(0, 0)]
3, 7, []
4, 4, [(0, 2), (2, 1), (1, 3)]
2, 5, [(0, 3), (1, 1)]
5, 5, [(2, 2)]
3, 3, [(1, 0), (0, 1)]
6, 4, [(1, 1), (2, 2), (3, 3)]
4, 6, [(0, 1), (3, 4)]
""",
    ),
    program(
        "Numbers are multiplied as a chain of matrices; where do the brackets go to save the most work?",
        r"""
from functools import lru_cache


def f(sizes):
    @lru_cache(maxsize=None)
    def best(i, j):
        if j - i == 1:
            return 0, chr(ord("A") + i)
        options = []
        for k in range(i + 1, j):
            left, right = best(i, k), best(k, j)
            work = left[0] + right[0] + sizes[i] * sizes[k] * sizes[j]
            options.append((work, f"({left[1]}{right[1]})"))
        return min(options)

    return best(0, len(sizes) - 1) if len(sizes) > 1 else (0, "")
""",
        r"""
[10, 30, 5, 60]
[40, 20, 30, 10, 30]
[5, 4]
[7]
[1, 2, 3, 4]
[10, 20, 30]
[30, 35, 15, 5, 10, 20, 25]
[2, 2, 2, 2, 2]
[5, 10, 3, 12, 5]
[100, 1, 100, 1, 100]
""",
    ),
    program(
        "Break the stick at the marks; each cut costs the length of the piece. Cheapest total, and the first cut.",
        r"""
def f(length, marks):
    places = [0, *sorted(marks), length]
    memo = {}

    def cost(i, j):
        if j - i < 2:
            return 0, None
        if (i, j) not in memo:
            memo[i, j] = min((cost(i, k)[0] + cost(k, j)[0] + places[j] - places[i], places[k]) for k in range(i + 1, j))
        return memo[i, j]

    return cost(0, len(places) - 1)
""",
        r"""
7, [1, 3, 4, 5]
9, [5, 6, 1, 4, 2]
10, []
20, [10]
100, [50, 25, 75]
12, [3, 9]
30, [1, 2, 3]
15, [5, 7, 14]
8, [1, 2, 3, 4, 5, 6, 7]
50, [45, 5, 20]
""",
    ),
    program(
        "Letters A to Z are coded as 1 to 26 without separators. How many readings are there, and which come first and last?",
        r"""
def f(digits):
    readings = [[""]]
    for end in range(1, len(digits) + 1):
        here = []
        if digits[end - 1] != "0":
            here += [text + chr(64 + int(digits[end - 1])) for text in readings[end - 1]]
        if end > 1 and "10" <= digits[end - 2:end] <= "26":
            here += [text + chr(64 + int(digits[end - 2:end])) for text in readings[end - 2]]
        readings.append(here)
    final = sorted(readings[-1])
    return len(final), final[:1] + final[-1:]
""",
        r"""
"226"
"12"
""
"06"
"2101"
"11111"
"27"
"100"
"123123"
"1020304"
""",
    ),
    program(
        "Fill the board with dominoes; count the ways row by row using the set of cells that stick out.",
        r"""
def f(rows, columns):
    states = {0: 1}
    for _ in range(rows):
        for column in range(columns):
            following = {}
            for mask, ways in states.items():
                bit = 1 << column
                if mask & bit:
                    following[mask ^ bit] = following.get(mask ^ bit, 0) + ways
                    continue
                following[mask | bit] = following.get(mask | bit, 0) + ways
                if column + 1 < columns and not mask & (bit << 1):
                    following[mask | (bit << 1)] = following.get(mask | (bit << 1), 0) + ways
            states = following
    return states.get(0, 0), len(states)
""",
        r"""
4, 4
2, 3
3, 3
1, 6
2, 8
3, 4
5, 4
1, 1
2, 2
6, 3
""",
    ),
    program(
        "A simple search and replace, done again and again, deepest first, until the term cannot be rewritten any more.",
        r"""
def f(term, limit):
    steps = 0

    def rewrite(t):
        nonlocal steps
        if isinstance(t, str):
            return t
        t = [rewrite(part) for part in t]
        if steps < limit and t[:1] == ["not"] and isinstance(t[1], list) and t[1][0] == "not":
            steps += 1
            return t[1][1]
        if steps < limit and t[:1] == ["not"] and isinstance(t[1], list) and t[1][0] in ("and", "or"):
            steps += 1
            other = "or" if t[1][0] == "and" else "and"
            return rewrite([other, *(["not", part] for part in t[1][1:])])
        return t

    return rewrite(term), steps
""",
        r"""
["not", ["and", "a", ["not", "b"]]], 10
"x", 5
["not", "x"], 3
["not", ["not", ["not", "p"]]], 9
["not", ["or", "a", "b", "c"]], 1
["and", ["not", ["or", "a", "b"]], ["not", ["not", "c"]]], 8
["not", ["and", ["or", "p", "q"], "r"]], 4
["not", ["not", "y"]], 0
["or", "a", ["and", "b", "c"]], 5
["not", ["or", ["not", "u"], ["not", ["and", "v", "w"]]]], 20
""",
    ),
    program(
        "Choose a team: each member brings skills. The smallest group (first in order) that covers all needed skills.",
        r"""
from itertools import combinations


def f(needed, people):
    needed = set(needed)
    for size in range(len(people) + 1):
        for group in combinations(people, size):
            skills = set().union(*(people[name] for name in group))
            if needed <= skills:
                return list(group), sorted(skills - needed)
    missing = needed - set().union(*people.values())
    return sorted(missing)
""",
        r"""
["cook", "drive", "sing"], {"ann": ["cook"], "bob": ["drive", "sing"], "cid": ["cook", "drive"]}
[], {"x": ["a"]}
["a"], {}
["a", "b"], {"p": ["a"], "q": ["c"]}
["x", "y", "z"], {"k": ["x"], "l": ["y"], "m": ["z"], "n": ["x", "y"]}
["c"], {"u": ["a", "b"], "v": ["c", "d", "e"]}
["r", "w"], {"one": ["r"], "two": ["w"], "all": ["r", "w", "x"]}
["java", "sql"], {"dev": ["java"], "dba": ["sql"], "ops": ["bash"]}
["m", "n", "o", "p"], {"g": ["m", "n"], "h": ["n", "o"], "i": ["o", "p"], "j": ["m", "p", "q"]}
["fly"], {"bird": ["fly", "sing"], "fish": ["swim"], "bat": ["fly"]}
""",
    ),
    program(
        "A matching game: the pattern may hold ? for one letter and * for any number of letters.",
        r"""
from functools import lru_cache


def f(pattern, texts):
    @lru_cache(maxsize=None)
    def fits(p, t):
        if not p:
            return not t
        if p[0] == "*":
            return fits(p[1:], t) or (bool(t) and fits(p, t[1:]))
        return bool(t) and p[0] in ("?", t[0]) and fits(p[1:], t[1:])

    good = [text for text in texts if fits(pattern, text)]
    return good, fits.cache_info().currsize
""",
        r"""
"a*b?", ["aXXbc", "ab", "abb", "b"]
"*", ["", "anything"]
"", ["", "x"]
"??", ["ab", "a", "abc"]
"*.py", ["main.py", "readme.md", ".py"]
"c?t*", ["cat", "cut off", "coat", "cot"]
"*a*a*", ["banana", "apple", "aa"]
"file_??.log", ["file_01.log", "file_1.log", "file_abc.log"]
"x*y*z", ["xyz", "xxyyzz", "xz", "xzyz"]
"no stars", ["no stars", "no star"]
""",
    ),
    program(
        "The text is squeezed: the shortest way to write it with counts and brackets such as 3(ab).",
        r"""
from functools import lru_cache


def f(text):
    @lru_cache(maxsize=None)
    def squeeze(part):
        best = part
        for size in range(1, len(part) // 2 + 1):
            if len(part) % size == 0 and part == part[:size] * (len(part) // size):
                folded = f"{len(part) // size}({squeeze(part[:size])})"
                best = min(best, folded, key=len)
        for cut in range(1, len(part)):
            best = min(best, squeeze(part[:cut]) + squeeze(part[cut:]), key=len)
        return best

    return squeeze(text), len(text)
""",
        r"""
"abababab"
"aaaaaaaaaa"
""
"abc"
"xyxyxyzzzzzzz"
"abbbabbbabbb"
"aabaabaabaab"
"nananananana"
"0000011111"
"hahahaha!"
""",
    ),
    program(
        "A sequence describes itself: read the digits of the last line aloud.",
        r"""
from itertools import groupby


def f(seed, rounds):
    def say(line, left):
        if left == 0:
            return [line]
        spoken = "".join(str(len(list(run))) + digit for digit, run in groupby(line))
        return [line, *say(spoken, left - 1)]

    lines = say(str(seed), rounds)
    return lines[-1], [len(line) for line in lines]
""",
        r"""
1, 5
22, 3
3, 0
111, 2
1211, 4
7, 6
10, 3
333, 1
2, 4
12345, 2
""",
    ),
    program(
        "Is there a tour of the whole board for the knight? Try the squares with the fewest ways on first.",
        r"""
def f(rows, columns, start):
    jumps = [(1, 2), (2, 1), (-1, 2), (-2, 1), (1, -2), (2, -1), (-1, -2), (-2, -1)]
    path = [tuple(start)]

    def ways(cell):
        near = [(cell[0] + r, cell[1] + c) for r, c in jumps]
        return [n for n in near if 0 <= n[0] < rows and 0 <= n[1] < columns and n not in path]

    while len(path) < rows * columns:
        options = ways(path[-1])
        if not options:
            break
        path.append(min(options, key=lambda cell: (len(ways(cell)), cell)))
    return len(path), path[-1], path[1:5]
""",
        r"""
5, 5, (0, 0)
3, 4, (0, 0)
3, 3, (0, 0)
3, 3, (1, 1)
4, 5, (1, 0)
6, 6, (2, 3)
2, 7, (0, 0)
5, 4, (3, 3)
1, 1, (0, 0)
5, 5, (0, 1)
""",
    ),
]
