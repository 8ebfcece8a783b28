"""Seeds over grids, matrices and graphs."""

from seed_programs import program

PROGRAMS = [
    program(
        "A table is read from the outside inwards, in a spiral; every turn of direction is marked.",
        r"""
def f(grid):
    rows = [list(row) for row in grid]
    result = []
    while rows:
        result.extend(rows.pop(0))
        if rows and rows[0]:
            result.append("/")
        rows = [list(row) for row in zip(*rows)][::-1]
    return result
""",
        r"""
[[1, 2, 3], [4, 5, 6], [7, 8, 9]]
[[1]]
[]
[[1, 2, 3, 4]]
[[1], [2], [3]]
["abc", "def"]
[[1, 2], [3, 4], [5, 6], [7, 8]]
[[9, 8], [7, 6]]
["oxo", "xox", "oxo", "---"]
[[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
""",
    ),
    program(
        "How many islands are there, and how large is the biggest? Diagonal contact does not count.",
        r"""
def f(rows):
    land = {(r, c) for r, row in enumerate(rows) for c, cell in enumerate(row) if cell == "#"}
    sizes = []
    while land:
        wave = [land.pop()]
        size = 0
        while wave:
            r, c = wave.pop()
            size += 1
            for cell in ((r + 1, c), (r - 1, c), (r, c + 1), (r, c - 1)):
                if cell in land:
                    land.discard(cell)
                    wave.append(cell)
        sizes.append(size)
    return len(sizes), sorted(sizes, reverse=True)
""",
        r"""
["##..#", "#...#", "..#..", "###.."]
["...."]
[]
["#"]
["#.#", ".#.", "#.#"]
["####", "#..#", "####"]
["##", "##"]
["#.#.#.#", "#.#.#.#"]
["..#", ".##", "#.."]
["#####", ".....", "#####", "....#", "#####"]
""",
    ),
    program(
        "Shortest way through a maze from S to E, as a string of steps; nothing if there is none.",
        r"""
from collections import deque


def f(maze):
    cells = {(r, c): cell for r, row in enumerate(maze) for c, cell in enumerate(row)}
    start = next(place for place, cell in cells.items() if cell == "S")
    queue = deque([(start, "")])
    seen = {start}
    while queue:
        (r, c), path = queue.popleft()
        if cells[r, c] == "E":
            return path, len(seen)
        for step, place in (("U", (r - 1, c)), ("L", (r, c - 1)), ("R", (r, c + 1)), ("D", (r + 1, c))):
            if cells.get(place, "#") != "#" and place not in seen:
                seen.add(place)
                queue.append((place, path + step))
    return "", len(seen)
""",
        r"""
["S.#.", "..#E", "#...", "...."]
["SE"]
["S#E"]
["S...", "###.", "E..."]
["E..", ".#.", "..S"]
["S.", ".."]
["#####", "#S.E#", "#####"]
["..S..", ".###.", "..E.."]
["S.#", "#..", "..E"]
["E#...", ".#.#.", "...#S"]
""",
    ),
    program(
        "Matrix power with whole numbers modulo something, by repeated squaring.",
        r"""
def f(matrix, power, modulus):
    size = len(matrix)

    def multiply(a, b):
        return [[sum(a[i][k] * b[k][j] for k in range(size)) % modulus for j in range(size)] for i in range(size)]

    result = [[int(i == j) for j in range(size)] for i in range(size)]
    products = 0
    while power:
        if power & 1:
            result = multiply(result, matrix)
            products += 1
        matrix = multiply(matrix, matrix)
        products += 1
        power >>= 1
    return result, products
""",
        r"""
[[1, 1], [1, 0]], 10, 1000
[[2]], 8, 100
[[0, 1], [1, 0]], 5, 7
[[1, 2], [3, 4]], 0, 5
[[1, 1, 0], [0, 1, 1], [0, 0, 1]], 6, 10
[[3, 0], [0, 5]], 3, 50
[[1, 1], [1, 0]], 1, 10
[[0, 0, 1], [1, 0, 0], [0, 1, 0]], 100, 9
[[-1, 2], [0, 1]], 4, 11
[[1, 2], [2, 1]], 7, 13
""",
    ),
    program(
        "Game of life on a bounded board: after so many generations.",
        r"""
def f(board, generations):
    alive = {(r, c) for r, row in enumerate(board) for c, cell in enumerate(row) if cell == "o"}
    height, width = len(board), len(board[0])
    for _ in range(generations):
        counts = {}
        for r, c in alive:
            for y in (r - 1, r, r + 1):
                for x in (c - 1, c, c + 1):
                    if (y, x) != (r, c) and 0 <= y < height and 0 <= x < width:
                        counts[y, x] = counts.get((y, x), 0) + 1
        alive = {cell for cell, count in counts.items() if count == 3 or (count == 2 and cell in alive)}
    return ["".join("o" if (r, c) in alive else "." for c in range(width)) for r in range(height)]
""",
        r"""
[".....", "..o..", "..o..", "..o..", "....."], 1
["oo", "oo"], 5
["o"], 1
[".o...", "..o..", "ooo..", ".....", "....."], 4
["...", "...", "..."], 2
["oooo"], 1
["oo.", "o..", "..."], 1
["o.o", ".o.", "o.o"], 2
["..oo", "..oo", "oo..", "oo.."], 3
[".ooo", "ooo."], 2
""",
    ),
    program(
        "Cheapest route between two towns when each road has a price.",
        r"""
import heapq


def f(roads, start, goal):
    near = {}
    for a, b, price in roads:
        near.setdefault(a, []).append((b, price))
        near.setdefault(b, []).append((a, price))
    heap = [(0, start, (start,))]
    settled = set()
    while heap:
        cost, town, path = heapq.heappop(heap)
        if town == goal:
            return cost, "-".join(path)
        if town in settled:
            continue
        settled.add(town)
        for other, price in near.get(town, []):
            if other not in settled:
                heapq.heappush(heap, (cost + price, other, (*path, other)))
    return None, sorted(settled)
""",
        r"""
[("A", "B", 4), ("B", "C", 3), ("A", "C", 9), ("C", "D", 1)], "A", "D"
[("A", "B", 1)], "A", "C"
[], "X", "X"
[("p", "q", 2), ("q", "r", 2), ("p", "r", 4)], "p", "r"
[("u", "v", 5), ("w", "x", 1), ("v", "u", 2)], "u", "v"
[("u", "v", 5), ("w", "x", 1)], "u", "x"
[("1", "2", 7), ("1", "3", 9), ("1", "6", 14), ("2", "3", 10), ("2", "4", 15), ("3", "6", 2), ("6", "5", 9)], "1", "5"
[("h", "i", 0), ("i", "j", 0), ("h", "j", 1)], "h", "j"
[("m", "n", 10), ("n", "o", 10), ("o", "m", 10)], "o", "n"
[("S", "A", 1), ("A", "B", 1), ("B", "E", 5), ("S", "E", 8), ("A", "E", 7)], "S", "E"
""",
    ),
    program(
        "Are the edges enough to paint the points with two colours, so that no edge joins equals?",
        r"""
def f(edges):
    near = {}
    for a, b in edges:
        near.setdefault(a, set()).add(b)
        near.setdefault(b, set()).add(a)
    colour = {}
    for first in sorted(near):
        if first in colour:
            continue
        colour[first] = 0
        todo = [first]
        while todo:
            point = todo.pop()
            for other in sorted(near[point]):
                if other not in colour:
                    colour[other] = 1 - colour[point]
                    todo.append(other)
                elif colour[other] == colour[point]:
                    return "clash", sorted((point, other))
    return "fine", [point for point in sorted(colour) if colour[point]]
""",
        r"""
[(1, 2), (2, 3), (3, 4), (4, 1)]
[(1, 2), (2, 3), (3, 1)]
[]
[("a", "b")]
[(1, 1)]
[(1, 2), (3, 4), (5, 6), (6, 7)]
[(1, 2), (1, 3), (1, 4), (4, 5), (5, 6)]
[("p", "q"), ("q", "r"), ("r", "s"), ("s", "t"), ("t", "p")]
[(0, 3), (0, 4), (1, 3), (1, 4), (2, 3)]
[(9, 8), (8, 7), (7, 6), (6, 9), (9, 7)]
""",
    ),
    program(
        "Roads are built from the cheapest up, but only if they join what was apart; who is connected in the end?",
        r"""
def f(towns, offers):
    leader = {town: town for town in towns}

    def find(town):
        while leader[town] != town:
            leader[town] = leader[leader[town]]
            town = leader[town]
        return town

    built, cost = [], 0
    for price, a, b in sorted(offers):
        if find(a) != find(b):
            leader[find(b)] = find(a)
            built.append(a + b)
            cost += price
    groups = {}
    for town in towns:
        groups.setdefault(find(town), []).append(town)
    return built, cost, sorted(groups.values())
""",
        r"""
"ABCD", [(4, "A", "B"), (1, "B", "C"), (3, "A", "C"), (2, "C", "D")]
"XY", []
"", []
"PQR", [(5, "P", "Q"), (5, "Q", "R"), (5, "P", "R")]
"ABCDE", [(1, "A", "B"), (2, "C", "D"), (3, "D", "C")]
"K", [(9, "K", "K")]
"MNOP", [(10, "M", "N"), (20, "N", "O"), (5, "O", "P"), (15, "M", "P"), (1, "M", "O")]
"UVW", [(-1, "U", "V"), (0, "V", "W")]
"GHIJ", [(2, "G", "J"), (2, "H", "I"), (7, "I", "J"), (6, "G", "I")]
"ABCDEF", [(3, "A", "F"), (1, "E", "F"), (4, "B", "C"), (2, "C", "D"), (9, "A", "B")]
""",
    ),
    program(
        "Rotate a picture by quarter turns and mirror it, as the commands say; then report its rows.",
        r"""
def f(picture, commands):
    rows = list(picture)
    for command in commands:
        if command == "r":
            rows = ["".join(column)[::-1] for column in zip(*rows)]
        elif command == "l":
            rows = ["".join(column) for column in zip(*rows)][::-1]
        elif command == "m":
            rows = [row[::-1] for row in rows]
        elif command == "t":
            rows = ["".join(column) for column in zip(*rows)]
        elif command == "d":
            rows = [letter_row for row in rows for letter_row in ("".join(x * 2 for x in row),) * 2]
    return rows
""",
        r"""
["ab", "cd", "ef"], "r"
["x"], "dd"
["abc"], "l"
["ab", "cd"], "rrrr"
["ab", "cd", "ef"], "mt"
["#.", ".."], "dr"
["123", "456"], "lm"
["oo-", "-oo"], "tm"
["pq"], ""
["abc", "def", "ghi"], "rml"
""",
    ),
    program(
        "Numbers of hidden mines around each free cell.",
        r"""
def f(field):
    rows = []
    total = 0
    for r, line in enumerate(field):
        row = ""
        for c, cell in enumerate(line):
            if cell == "*":
                row += "*"
                continue
            near = sum(part[max(0, c - 1):c + 2].count("*") for part in field[max(0, r - 1):r + 2])
            total += near
            row += str(near) if near else "."
        rows.append(row)
    return rows, total
""",
        r"""
["*...", "....", ".*.."]
["."]
[]
["***", "*.*", "***"]
["*"]
["....."]
["*.*.*", ".....", "*.*.*"]
["..", "*.", ".."]
[".*.", "*.*"]
["*..*", "....", "....", "*..*"]
""",
    ),
    program(
        "Does the square hold the same sum in all directions? If not, which lines differ from the first row?",
        r"""
def f(square):
    size = len(square)
    lines = {}
    for i in range(size):
        lines[f"row{i}"] = sum(square[i])
        lines[f"col{i}"] = sum(row[i] for row in square)
    lines["diag"] = sum(square[i][i] for i in range(size))
    lines["anti"] = sum(square[i][size - 1 - i] for i in range(size))
    goal = lines["row0"]
    wrong = {name: total - goal for name, total in lines.items() if total != goal}
    flat = sorted(number for row in square for number in row)
    return goal, wrong, flat == list(range(1, size * size + 1))
""",
        r"""
[[2, 7, 6], [9, 5, 1], [4, 3, 8]]
[[1]]
[[1, 2], [3, 4]]
[[5, 5], [5, 5]]
[[16, 3, 2, 13], [5, 10, 11, 8], [9, 6, 7, 12], [4, 15, 14, 1]]
[[2, 7, 6], [9, 5, 1], [4, 3, 9]]
[[0, 1], [1, 0]]
[[8, 1, 6], [3, 5, 7], [4, 9, 2]]
[[1, 2, 3], [2, 3, 1], [3, 1, 2]]
[[10]]
""",
    ),
    program(
        "Gauss on fractions: solve the equations, or say what is wrong with them.",
        r"""
from fractions import Fraction


def f(rows):
    table = [[Fraction(x) for x in row] for row in rows]
    size = len(table)
    for column in range(size):
        pivot = next((r for r in range(column, size) if table[r][column]), None)
        if pivot is None:
            return "no single solution", column
        table[column], table[pivot] = table[pivot], table[column]
        lead = table[column][column]
        table[column] = [x / lead for x in table[column]]
        for r in range(size):
            if r != column:
                factor = table[r][column]
                table[r] = [x - factor * y for x, y in zip(table[r], table[column])]
    return [str(row[-1]) for row in table]
""",
        r"""
[[2, 1, 5], [1, -1, 1]]
[[3, 7]]
[[1, 1, 2], [2, 2, 4]]
[[0, 1, 3], [1, 0, 2]]
[[1, 1, 1, 6], [0, 2, 5, -4], [2, 5, -1, 27]]
[[4, -2, 1], [3, 1, 2]]
[[0, 5]]
[[1, 2, 3], [3, 4, 7]]
[[2, 0, 0, 1], [0, 3, 0, 1], [0, 0, 5, 1]]
[[1, 0, 1, 4], [0, 1, 1, 5], [1, 1, 0, 3]]
""",
    ),
    program(
        "Who can reach whom? The relation is closed step by step, allowing one more stop in between each time.",
        r"""
def f(size, arrows):
    reach = [[i == j for j in range(size)] for i in range(size)]
    for a, b in arrows:
        reach[a][b] = True
    added = []
    for stop in range(size):
        new = 0
        for i in range(size):
            for j in range(size):
                if reach[i][stop] and reach[stop][j] and not reach[i][j]:
                    reach[i][j] = True
                    new += 1
        added.append(new)
    mutual = [(i, j) for i in range(size) for j in range(i) if reach[i][j] and reach[j][i]]
    return [sum(row) for row in reach], added, mutual
""",
        r"""
4, [(0, 1), (1, 2), (2, 0), (3, 2)]
1, []
3, []
3, [(0, 1), (1, 2)]
5, [(4, 3), (3, 2), (2, 1), (1, 0)]
2, [(0, 1), (1, 0)]
4, [(0, 2), (2, 3), (1, 3)]
6, [(0, 1), (1, 0), (2, 3), (3, 4), (4, 2), (5, 0)]
3, [(0, 0), (2, 1)]
5, [(0, 1), (1, 2), (2, 3), (3, 1), (3, 4)]
""",
    ),
    program(
        "Each rope of the bridge holds points that, cut out, break the net into more pieces: find these points.",
        r"""
def f(edges):
    near = {}
    for a, b in edges:
        near.setdefault(a, set()).add(b)
        near.setdefault(b, set()).add(a)

    def pieces(without):
        left = set(near) - {without}
        count = 0
        while left:
            count += 1
            todo = [left.pop()]
            while todo:
                fresh = near[todo.pop()] & left
                left -= fresh
                todo.extend(fresh)
        return count

    whole = pieces(None)
    return whole, {point: pieces(point) for point in sorted(near) if pieces(point) > whole}
""",
        r"""
[(1, 2), (2, 3), (3, 1), (3, 4), (4, 5)]
[(1, 2)]
[]
[(1, 2), (2, 3), (3, 4), (4, 1)]
[("c", "a"), ("c", "b"), ("c", "d")]
[(1, 2), (3, 4), (4, 5)]
[(0, 1), (1, 2), (2, 0), (2, 3), (3, 4), (4, 2)]
[("x", "y"), ("y", "z"), ("z", "w")]
[(5, 6), (6, 7), (7, 5), (8, 9), (9, 10)]
[("hub", "p"), ("hub", "q"), ("q", "r"), ("r", "hub"), ("p", "s")]
""",
    ),
    program(
        "A falling-blocks game with one-wide bricks: full rows vanish.",
        r"""
def f(width, bricks):
    rows = []
    cleared = 0
    for left, length in bricks:
        cells = set(range(left, min(width, left + length)))
        height = len(rows)
        while height > 0 and not rows[height - 1] & cells:
            height -= 1
        if height == len(rows):
            rows.append(set())
        rows[height] |= cells
        if len(rows[height]) == width:
            del rows[height]
            cleared += 1
    picture = ["".join("#" if c in row else "." for c in range(width)) for row in reversed(rows)]
    return picture, cleared
""",
        r"""
5, [(0, 3), (2, 2), (3, 2), (0, 2), (4, 1)]
3, [(0, 3), (0, 3)]
4, []
2, [(0, 1), (1, 1), (0, 1)]
6, [(0, 6), (1, 4), (0, 1), (5, 3)]
4, [(0, 2), (1, 2), (2, 2)]
3, [(0, 1), (0, 1), (1, 2), (1, 2)]
5, [(4, 1), (3, 1), (2, 1), (1, 1), (0, 1)]
8, [(0, 4), (4, 4), (2, 4), (0, 2), (6, 2)]
7, [(0, 2), (5, 2), (1, 5), (2, 3)]
""",
    ),
    program(
        "Water is poured on a map of heights and flows to the lowest neighbour until it finds a pit. How large is the basin of each pit?",
        r"""
def f(heights):
    height, width = len(heights), len(heights[0])

    def drain(r, c):
        near = [(r, c)] + [(r + 1, c), (r - 1, c), (r, c + 1), (r, c - 1)]
        near = [(y, x) for y, x in near if 0 <= y < height and 0 <= x < width]
        lowest = min(near, key=lambda cell: heights[cell[0]][cell[1]])
        return (r, c) if lowest == (r, c) else drain(*lowest)

    basins = {}
    for r in range(height):
        for c in range(width):
            pit = drain(r, c)
            basins[pit] = basins.get(pit, 0) + 1
    return sorted(basins.items())
""",
        r"""
[[9, 2, 9], [5, 9, 1], [0, 9, 3]]
[[1]]
[[1, 1], [1, 1]]
[[5, 4, 3, 2, 1]]
[[1, 9, 1], [9, 9, 9], [1, 9, 1]]
[[3, 2, 3], [2, 1, 2], [3, 2, 3]]
[[0, 1, 0, 1, 0]]
[[7, 6], [8, 5], [9, 4]]
[[4, 8, 2, 6], [3, 9, 5, 1]]
[[2, 3, 1], [5, 5, 5], [1, 4, 2]]
""",
    ),
    program(
        "Light enters a box of mirrors from the left; where does it leave, or does it run for ever?",
        r"""
def f(box, row):
    r, c, dr, dc = row, 0, 0, 1
    seen = set()
    while 0 <= r < len(box) and 0 <= c < len(box[0]):
        if (r, c, dr, dc) in seen:
            return "loop", len(seen)
        seen.add((r, c, dr, dc))
        mirror = box[r][c]
        if mirror == "/":
            dr, dc = -dc, -dr
        elif mirror == "\\":
            dr, dc = dc, dr
        elif mirror == "o":
            dr, dc = -dr, -dc
        r, c = r + dr, c + dc
    side = "top" if r < 0 else "bottom" if r == len(box) else "left" if c < 0 else "right"
    return side, c if side in ("top", "bottom") else r, len(seen)
""",
        r"""
["..\\.", "....", "\\./."], 0
["..."], 0
["/"], 0
["\\", "."], 0
[".o"], 0
["./.", "...", ".\\."], 2
["/-\\", "\\-/"], 1
["...\\", "....", "\\../"], 0
[".\\o", "...", "..."], 0
["../\\", "..\\/"], 0
""",
    ),
    program(
        "A pyramid of numbers: the best sum from the top to the bottom, going to one of the two below each time.",
        r"""
def f(pyramid):
    best = [(number, "") for number in pyramid[-1]]
    for row in reversed(pyramid[:-1]):
        following = []
        for i, number in enumerate(row):
            left, right = best[i], best[i + 1]
            if left[0] >= right[0]:
                following.append((number + left[0], "L" + left[1]))
            else:
                following.append((number + right[0], "R" + right[1]))
        best = following
    return best[0]
""",
        r"""
[[3], [7, 4], [2, 4, 6], [8, 5, 9, 3]]
[[5]]
[[1], [2, 2]]
[[-1], [-2, -3], [-4, 0, -9]]
[[10], [1, 9], [50, 1, 1]]
[[0], [0, 0], [0, 0, 1]]
[[2], [3, 4], [6, 5, 7], [4, 1, 8, 3]]
[[75], [95, 64], [17, 47, 82]]
[[1], [1, 1], [1, 1, 1], [1, 1, 1, 1]]
[[4], [-5, 3], [20, -1, -2], [0, 1, 2, 30]]
""",
    ),
    program(
        "Largest square of ones, and where its lower right corner lies.",
        r"""
def f(rows):
    best = (0, None)
    above = []
    for r, row in enumerate(rows):
        here = []
        for c, cell in enumerate(row):
            if cell != "1":
                here.append(0)
            elif r == 0 or c == 0:
                here.append(1)
            else:
                here.append(1 + min(above[c], above[c - 1], here[c - 1]))
            if here[-1] > best[0]:
                best = (here[-1], (r, c))
        above = here
    return best, above
""",
        r"""
["10100", "10111", "11111", "10010"]
["0"]
[]
["1"]
["11", "11"]
["0110", "1111", "1111"]
["111", "111", "111"]
["01", "10"]
["1111", "1111", "1101", "1111"]
["000111", "001111", "011110"]
""",
    ),
    program(
        "Distances between all pairs of places, when detours can be shorter than the direct way.",
        r"""
def f(table):
    size = len(table)
    distance = [[0 if i == j else cell for j, cell in enumerate(row)] for i, row in enumerate(table)]
    detours = 0
    for k in range(size):
        for i in range(size):
            for j in range(size):
                if distance[i][k] is None or distance[k][j] is None:
                    continue
                through = distance[i][k] + distance[k][j]
                if distance[i][j] is None or through < distance[i][j]:
                    distance[i][j] = through
                    detours += 1
    return distance, detours
""",
        r"""
[[0, 3, 8], [None, 0, 2], [5, None, 0]]
[[0]]
[[None, None], [None, None]]
[[0, 1, 9], [1, 0, 1], [9, 1, 0]]
[[0, 4], [7, 0]]
[[9, 9], [9, 9]]
[[0, 2, None, 10], [None, 0, 3, None], [None, None, 0, 1], [None, None, None, 0]]
[[0, 6, 1], [6, 0, 2], [1, 2, 0]]
[[0, None, 4], [3, 0, None], [None, 5, 0]]
[[0, 5, 5, 5], [1, 0, 5, 5], [5, 1, 0, 5], [5, 5, 1, 0]]
""",
    ),
    program(
        "Seats in a hall: a person sits as far from others as possible, choosing the leftmost seat among equals.",
        r"""
def f(seats, guests):
    row = list(seats)
    chosen = []
    for guest in guests:
        taken = [i for i, seat in enumerate(row) if seat != "_"]
        free = [i for i, seat in enumerate(row) if seat == "_"]
        if not free:
            break
        place = max(free, key=lambda i: (min((abs(i - j) for j in taken), default=len(row)), -i))
        row[place] = guest
        chosen.append(place)
    return "".join(row), chosen
""",
        r"""
"__________", "ABCD"
"X___X", "ab"
"", "z"
"_", "pq"
"x______", "123"
"___m___", "rst"
"xx", "y"
"_x_x_", "KLM"
"________", "hijk"
"x________x", "uvw"
""",
    ),
    program(
        "Ships on a board: are they legal (straight, no touching), and which lengths are there?",
        r"""
def f(board):
    cells = {(r, c) for r, row in enumerate(board) for c, cell in enumerate(row) if cell == "S"}
    diagonal = [(r, c) for r, c in cells if (r + 1, c + 1) in cells or (r + 1, c - 1) in cells]
    if diagonal:
        return "touching", min(diagonal)
    lengths = []
    for r, c in sorted(cells):
        if (r - 1, c) in cells or (r, c - 1) in cells:
            continue
        length = 1
        while (r + length, c) in cells or (r, c + length) in cells:
            length += 1
        lengths.append(length)
    return "legal", sorted(lengths, reverse=True)
""",
        r"""
["SSS..", ".....", "S...S", "S....", "S.SS."]
["S"]
["..."]
["S.", ".S"]
["SS", "S."]
["S.S.S"]
["S", "S", "S", "S"]
[".S.", "S.S", ".S."]
["SSSS", "....", "SS.S"]
["S..S", "...S", "SS.S", "...S"]
""",
    ),
    program(
        "An edge list becomes the picture of its degrees; can the graph be drawn in one line, and where does one begin?",
        r"""
def f(edges):
    degree = {}
    for a, b in edges:
        for point in (a, b):
            degree[point] = degree.get(point, 0) + 1
    odd = sorted(point for point, count in degree.items() if count % 2)
    if len(odd) > 2:
        return "impossible", odd
    left = [tuple(edge) for edge in edges]
    stack, tour = [odd[0] if odd else min(degree, default=None)], []
    while stack:
        at = next((edge for edge in left if stack[-1] in edge), None)
        if at is None:
            tour.append(stack.pop())
        else:
            left.remove(at)
            stack.append(at[1] if at[0] == stack[-1] else at[0])
    return ("possible", tour[::-1]) if not left else ("apart", left)
""",
        r"""
[(1, 2), (2, 3), (3, 1), (3, 4), (4, 5), (5, 3)]
[(1, 2)]
[(1, 2), (1, 3), (1, 4)]
[(1, 2), (2, 1)]
[(1, 2), (2, 3), (3, 1), (4, 5), (5, 6), (6, 4)]
[(0, 0), (0, 1)]
[(1, 2), (2, 3), (3, 4), (4, 1), (1, 3)]
[(5, 6), (6, 7), (7, 8)]
[("a", "b"), ("b", "c"), ("c", "a"), ("a", "d"), ("d", "c")]
[(1, 2), (3, 4)]
""",
    ),
    program(
        "A path for a robot is given by arrows on the floor; in how many steps does it leave, or how long is its circle?",
        r"""
def f(floor, start):
    r, c = start
    when = {}
    while 0 <= r < len(floor) and 0 <= c < len(floor[r]):
        if (r, c) in when:
            return "circle", len(when) - when[r, c], when[r, c]
        when[r, c] = len(when)
        arrow = floor[r][c]
        r += (arrow == "v") - (arrow == "^")
        c += (arrow == ">") - (arrow == "<")
    return "leaves", (r, c), len(when)
""",
        r"""
[">>v", "^.v", "^<<"], (0, 0)
[">>v", "v<<", ">>>"], (0, 0)
["^"], (0, 0)
["."], (0, 0)
["><"], (0, 0)
["vvv", ">>v", "<<<"], (0, 1)
[">v", "^<"], (1, 1)
["<"], (5, 5)
[">>>>v", "....v", "..^<<"], (0, 0)
["v<", "v^", ">^"], (0, 1)
""",
    ),
    program(
        "Sums over rectangles are answered from a table of sums made once.",
        r"""
def f(grid, questions):
    width = len(grid[0])
    table = [[0] * (width + 1)]
    for row in grid:
        line = [0]
        for c, cell in enumerate(row):
            line.append(line[-1] + cell + table[-1][c + 1] - table[-1][c])
        table.append(line)
    answers = []
    for top, left, bottom, right in questions:
        answers.append(table[bottom][right] - table[top][right] - table[bottom][left] + table[top][left])
    return answers, table[-1]
""",
        r"""
[[1, 2, 3], [4, 5, 6], [7, 8, 9]], [(0, 0, 3, 3), (1, 1, 3, 3), (0, 2, 1, 3)]
[[5]], [(0, 0, 1, 1), (0, 0, 0, 0)]
[[1, -1], [-1, 1]], [(0, 0, 2, 1), (0, 0, 1, 2), (1, 1, 2, 2)]
[[2, 4, 6, 8]], [(0, 1, 1, 3)]
[[1], [10], [100]], [(1, 0, 3, 1), (0, 0, 2, 1)]
[[0, 0], [0, 0]], []
[[3, 1, 4, 1], [5, 9, 2, 6]], [(0, 0, 2, 2), (0, 2, 2, 4), (1, 1, 2, 3)]
[[7, 7], [7, 7], [7, 7]], [(0, 0, 3, 2), (1, 0, 2, 2)]
[[1, 2], [3, 4]], [(1, 0, 2, 1), (0, 1, 1, 2), (0, 0, 2, 2)]
[[9, 8, 7], [6, 5, 4]], [(0, 1, 2, 2), (1, 0, 2, 3)]
""",
    ),
    program(
        "Fire spreads in a forest from tree to tree each minute, not over water; which minute burns the most?",
        r"""
def f(forest):
    burning = {(r, c) for r, row in enumerate(forest) for c, cell in enumerate(row) if cell == "F"}
    trees = {(r, c) for r, row in enumerate(forest) for c, cell in enumerate(row) if cell == "T"}
    minutes = [len(burning)]
    while burning:
        around = {(r + a, c + b) for r, c in burning for a, b in ((0, 1), (1, 0), (0, -1), (-1, 0))}
        burning = around & trees
        trees -= burning
        minutes.append(len(burning))
    return minutes[:-1], minutes.index(max(minutes)), sorted(trees)
""",
        r"""
["FTT", "T~T", "TTT"]
["F"]
["TTT"]
["F~T"]
["TFT", "TTT"]
["F..T", "TTTT", "...T"]
["TTTTT", "TTFTT", "TTTTT"]
["FT~TF"]
["T~", "~F"]
["FTTTTTTF"]
""",
    ),
    program(
        "The tree is given by parents. Depth of each node, and the node that is nearest above two others.",
        r"""
def f(parents, left, right):
    def line(node):
        path = [node]
        while parents.get(path[-1]) is not None:
            path.append(parents[path[-1]])
        return path

    above_left, above_right = line(left), line(right)
    meeting = next((node for node in above_left if node in above_right), None)
    if meeting is None:
        return None, len(above_left) + len(above_right)
    distance = above_left.index(meeting) + above_right.index(meeting)
    return meeting, distance, {node: len(line(node)) - 1 for node in sorted(parents)}
""",
        r"""
{"b": "a", "c": "a", "d": "b", "e": "b", "f": "c"}, "d", "f"
{"b": "a"}, "a", "b"
{}, "x", "y"
{"y": "x", "q": "p"}, "y", "q"
{"2": "1", "3": "2", "4": "3", "5": "3"}, "4", "5"
{"k": "r", "l": "r"}, "k", "k"
{"dog": "mammal", "cat": "mammal", "mammal": "animal", "hen": "bird", "bird": "animal"}, "dog", "hen"
{"m": "n", "n": "o", "o": "p"}, "m", "o"
{"u": None, "v": "u", "w": "v"}, "w", "u"
{"i": "h", "j": "h", "g": "j", "s": "j"}, "g", "s"
""",
    ),
    program(
        "How do the two knights on the board meet soonest, each moving in turn?",
        r"""
def f(size, first, second):
    def wave(start):
        distance, front = {tuple(start): 0}, [tuple(start)]
        for r, c in front:
            for a, b in ((1, 2), (2, 1), (-1, 2), (-2, 1), (1, -2), (2, -1), (-1, -2), (-2, -1)):
                cell = (r + a, c + b)
                if cell not in distance and 0 <= cell[0] < size and 0 <= cell[1] < size:
                    distance[cell] = distance[r, c] + 1
                    front.append(cell)
        return distance

    one, two = wave(first), wave(second)
    meeting = [(max(one[cell], two[cell]), cell) for cell in one.keys() & two.keys() if one[cell] - two[cell] in (0, 1)]
    return min(meeting, default=None), one.get(tuple(second), -1)
""",
        r"""
8, (0, 0), (7, 7)
3, (1, 1), (0, 0)
5, (0, 0), (0, 1)
4, (0, 0), (3, 3)
3, (0, 0), (2, 2)
6, (2, 3), (2, 3)
8, (3, 4), (5, 5)
5, (4, 0), (0, 4)
2, (0, 0), (1, 1)
7, (6, 1), (0, 0)
""",
    ),
]
