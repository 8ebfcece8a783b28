"""Seeds that keep state: automata, simulations, small classes, virtual machines."""

from seed_programs import program

PROGRAMS = [
    program(
        "A traffic light with a push button for people on foot; what did the lamp show at each tick?",
        r"""
def f(ticks):
    duration = {"G": 3, "Y": 1, "R": 2}
    following = {"G": "Y", "Y": "R", "R": "G"}
    state, age, wish = "R", 0, False
    shown = ""
    for pushed in ticks:
        wish = wish or pushed == "p"
        age += 1
        if age >= duration[state] and (state != "G" or wish or age >= 6):
            if state == "G":
                wish = False
            state, age = following[state], 0
        shown += state
    return shown
""",
        r"""
"..p......p"
"............"
"p"
""
"pppppppp"
"....p...p....p"
"......p"
".p.p.p.p.p.p.p.p"
"..............p....."
"...p..............p..."
""",
    ),
    program(
        "A machine with a stack executes short words; errors end it.",
        r"""
def f(source):
    stack = []
    for position, word in enumerate(source.split()):
        try:
            if word == "dup":
                stack.append(stack[-1])
            elif word == "swap":
                stack[-1], stack[-2] = stack[-2], stack[-1]
            elif word in ("+", "-", "*"):
                b, a = stack.pop(), stack.pop()
                stack.append(a + b if word == "+" else a - b if word == "-" else a * b)
            else:
                stack.append(int(word))
        except IndexError:
            return "underflow at " + str(position)
        except ValueError:
            return "unknown " + word
    return stack
""",
        r"""
"2 3 + dup *"
"1 2 swap -"
""
"1 +"
"5 dup dup + foo"
"swap"
"10 20 30 + *"
"3 dup * 4 dup * +"
"-7 2 * 1 -"
"1 2 3 4 swap"
""",
    ),
    program(
        "A turtle walks over a torus and leaves marks; when it meets its own mark it turns around.",
        r"""
def f(commands, size):
    x = y = 0
    dx, dy = 1, 0
    marks = {(0, 0)}
    for command in commands:
        if command == "L":
            dx, dy = dy, -dx
        elif command == "R":
            dx, dy = -dy, dx
        else:
            for _ in range(int(command)):
                x, y = (x + dx) % size, (y + dy) % size
                if (x, y) in marks:
                    dx, dy = -dx, -dy
                marks.add((x, y))
    return (x, y), (dx, dy), len(marks)
""",
        r"""
"3R2R1", 5
"", 4
"9", 3
"LLLL1", 6
"2L2L2L2", 8
"5R5R5R5", 7
"1R1L1R1L1", 4
"7L3", 10
"R4R4", 5
"2R2R2R3", 6
""",
    ),
    program(
        "Vending: coins go in, a choice is pushed, goods and change come out. What is logged?",
        r"""
class Machine:
    def __init__(self, prices):
        self.prices = prices
        self.credit = 0
        self.log = []

    def coin(self, value):
        if value in (5, 10, 20, 50):
            self.credit += value
        else:
            self.log.append(f"rejects {value}")

    def choose(self, item):
        price = self.prices.get(item)
        if price is None:
            self.log.append("sold out")
        elif self.credit < price:
            self.log.append(f"needs {price - self.credit}")
        else:
            self.log.append(f"{item}+{self.credit - price}")
            self.credit = 0


def f(prices, events):
    machine = Machine(prices)
    for event in events:
        machine.coin(event) if isinstance(event, int) else machine.choose(event)
    return machine.log, machine.credit
""",
        r"""
{"tea": 30, "nuts": 55}, [20, "tea", 10, "tea", 50, 7, "nuts"]
{}, ["tea"]
{"x": 5}, [50, "x", "x"]
{"a": 10, "b": 20}, [5, 5, "b", 10, "b"]
{"cola": 40}, []
{"gum": 15}, [1, 2, 3, "gum"]
{"bar": 25}, [10, 10, 10, "bar", 20, 20]
{"p": 0}, ["p", 5, "p"]
{"tea": 30}, [50, "nuts", "tea", "tea"]
{"m": 100}, [50, 50, "m", 20, "m"]
""",
    ),
    program(
        "A row of cells lives by a rule that looks at each cell and its two neighbours on a ring.",
        r"""
def f(row, rule, generations):
    history = [row]
    for _ in range(generations):
        cells = history[-1]
        new = ""
        for i in range(len(cells)):
            pattern = cells[i - 1] + cells[i] + cells[(i + 1) % len(cells)]
            number = int(pattern.replace("#", "1").replace(".", "0"), 2)
            new += "#" if rule >> number & 1 else "."
        if new in history:
            return history, history.index(new)
        history.append(new)
    return history, -1
""",
        r"""
"...#...", 90, 4
".#.", 30, 5
"#", 110, 3
"....#....", 30, 4
"##..##..", 184, 6
"........", 1, 3
"#.#.#.#.", 254, 4
"...##...", 110, 5
"#..#.", 250, 6
".....#", 60, 7
""",
    ),
    program(
        "A lift answers calls: it keeps its direction as long as somebody waits further on.",
        r"""
def f(start, calls):
    waiting = set(calls)
    floor, direction = start, 1
    stops, travelled = [], 0
    while waiting:
        if floor in waiting:
            waiting.discard(floor)
            stops.append(floor)
            continue
        ahead = [call for call in waiting if (call - floor) * direction > 0]
        if not ahead:
            direction = -direction
            continue
        floor += direction
        travelled += 1
    return stops, travelled
""",
        r"""
3, [5, 1, 4, 2]
0, []
2, [2]
7, [1, 2, 3]
1, [9, 1, 9]
5, [6, 4]
4, [10, 0, 8, 3]
-1, [2, -3, 0]
6, [1, 11, 6, 7]
0, [3, -2, 5, -4]
""",
    ),
    program(
        "Tiny assembler with two registers and jumps; runs at most a hundred instructions.",
        r"""
def f(program, a):
    registers = {"a": a, "b": 0}
    pointer = executed = 0
    while 0 <= pointer < len(program) and executed < 100:
        name, *arguments = program[pointer].split()
        executed += 1
        pointer += 1
        if name == "inc":
            registers[arguments[0]] += 1
        elif name == "dec":
            registers[arguments[0]] -= 1
        elif name == "dbl":
            registers[arguments[0]] *= 2
        elif name == "jnz" and registers[arguments[0]]:
            pointer += int(arguments[1]) - 1
    return registers["a"], registers["b"], executed
""",
        r"""
["inc b", "dec a", "jnz a -2"], 4
[], 3
["dbl a", "dbl a", "inc b"], 5
["inc b", "dbl b", "dec a", "jnz a -3"], 3
["jnz a 2", "inc b", "inc b"], 1
["jnz a 2", "inc b", "inc b"], 0
["inc a", "jnz a -1"], 0
["dec a", "dec a", "inc b", "jnz a -3"], 6
["jnz a 5", "inc a"], 2
["dbl b", "inc b", "dec a", "jnz a -3", "dbl b"], 4
""",
    ),
    program(
        "Typing with a broken keyboard: < is backspace, ^ switches capitals on and off, [ jumps to the start and ] to the end.",
        r"""
def f(keys):
    text, cursor, capitals = [], 0, False
    for key in keys:
        if key == "<":
            if cursor:
                cursor -= 1
                del text[cursor]
        elif key == "^":
            capitals = not capitals
        elif key == "[":
            cursor = 0
        elif key == "]":
            cursor = len(text)
        else:
            text.insert(cursor, key.upper() if capitals else key)
            cursor += 1
    return "".join(text), cursor
""",
        r"""
"helo<lo[^j]!"
"<<<"
""
"abc[x]y[z"
"^abc^def"
"ab<<cd[<e"
"mistake<<<<<<right"
"end[start "
"a[b[c[d"
"^^x^y<]z"
""",
    ),
    program(
        "Planes queue for one runway; landing has priority over starting, and long waiting changes that.",
        r"""
from collections import deque


def f(events, patience):
    landing, starting = deque(), deque()
    used = []
    for minute, event in enumerate(events):
        if event:
            queue = landing if event.isupper() else starting
            queue.append((event, minute))
        if starting and (not landing or minute - starting[0][1] >= patience):
            used.append(starting.popleft()[0])
        elif landing:
            used.append(landing.popleft()[0])
        else:
            used.append("-")
    rest = [name for name, _ in landing] + [name for name, _ in starting]
    return "".join(used), rest
""",
        r"""
["a", "A", "b", "B", "C", "D", "", ""], 3
[], 1
["x", "", ""], 5
["A", "B", "C"], 1
["a", "b", "c", "A", "B"], 0
["A", "a", "B", "b", "C", "c"], 2
["", "", "q"], 2
["P", "p", "Q", "R", "S", "T", ""], 4
["m", "M", "N", "n", "", "O", ""], 1
["a", "A", "A", "A", "A", "A", "A"], 5
""",
    ),
    program(
        "Population of fish with timers: at zero a fish starts over and a young one appears.",
        r"""
from collections import Counter


def f(timers, days, cycle):
    shoal = Counter(timers)
    sizes = [sum(shoal.values())]
    for _ in range(days):
        born = shoal[0]
        shoal = Counter({timer - 1: count for timer, count in shoal.items() if timer})
        shoal[cycle - 1] += born
        shoal[cycle + 1] += born
        sizes.append(sum(shoal.values()))
    return sizes[-1], [day for day in range(1, days + 1) if sizes[day] > sizes[day - 1]]
""",
        r"""
[3, 4, 3, 1, 2], 10, 7
[0], 5, 2
[], 4, 3
[5], 3, 7
[1, 1, 1], 12, 4
[0, 0], 1, 1
[2], 18, 5
[6, 3], 20, 6
[8], 9, 7
[0, 1, 2, 3], 8, 3
""",
    ),
    program(
        "A safe opens after the right digits in a row; three wrong entries lock it for a while.",
        r"""
def f(code, keys):
    typed, wrong, locked = "", 0, 0
    signals = []
    for key in keys:
        if locked:
            locked -= 1
            signals.append("x")
            continue
        typed += key
        if len(typed) < len(code):
            signals.append(".")
        elif typed == code:
            signals.append("O")
            typed, wrong = "", 0
        else:
            typed = ""
            wrong += 1
            if wrong == 3:
                wrong, locked = 0, 5
            signals.append(str(3 - wrong) if not locked else "L")
    return "".join(signals)
""",
        r"""
"42", "1142421311995555542"
"7", "7"
"123", ""
"00", "0000"
"1", "2222222221"
"911", "911119191911"
"5", "4454454445555555"
"abc", "abcabdabeabfabcabcabc"
"10", "0110011010"
"9", "8989889888999999"
""",
    ),
    program(
        "A bank account with a limit: what do the statements say at the end of each month?",
        r"""
class Account:
    def __init__(self, limit):
        self.balance = 0
        self.limit = limit
        self.fees = 0

    def book(self, amount):
        if self.balance + amount < -self.limit:
            self.fees += 1
            return False
        self.balance += amount
        return True

    def close_month(self):
        if self.balance < 0:
            self.balance -= max(1, -self.balance // 10)
        self.balance -= self.fees
        self.fees = 0
        return self.balance


def f(limit, months):
    account = Account(limit)
    statements = []
    for bookings in months:
        done = [account.book(amount) for amount in bookings]
        statements.append((account.close_month(), done.count(False)))
    return statements
""",
        r"""
100, [[50, -120], [-40, -10], [200]]
0, [[10, -20, 5]]
50, []
10, [[-10], [], []]
1000, [[-500, -400], [-300], [600]]
20, [[-30, -30, -30], [100]]
5, [[1, 2, 3], [-11], [-1]]
200, [[-200], [100, 50], [70]]
0, [[], [7], [-7], [-1]]
30, [[-29, -2], [40, -60], [-5, 5]]
""",
    ),
    program(
        "Sandpiles topple: a cell with four or more grains gives one to each neighbour; grains fall off the edge.",
        r"""
def f(grid):
    cells = [list(row) for row in grid]
    height, width = len(cells), len(cells[0])
    toppled = 0
    unstable = True
    while unstable:
        unstable = False
        for r in range(height):
            for c in range(width):
                if cells[r][c] >= 4:
                    unstable = True
                    toppled += 1
                    cells[r][c] -= 4
                    for y, x in ((r - 1, c), (r + 1, c), (r, c - 1), (r, c + 1)):
                        if 0 <= y < height and 0 <= x < width:
                            cells[y][x] += 1
    return cells, toppled
""",
        r"""
[[0, 0, 0], [0, 8, 0], [0, 0, 0]]
[[3]]
[[4]]
[[3, 3], [3, 4]]
[[1, 5, 1]]
[[16, 0], [0, 0]]
[[0, 0], [9, 9]]
[[2, 3, 2], [3, 4, 3], [2, 3, 2]]
[[7], [0], [7]]
[[3, 3, 3], [3, 3, 3], [3, 3, 4]]
""",
    ),
    program(
        "Tennis without names: who wins the points becomes what the umpire says.",
        r"""
def f(points):
    names = ["love", "15", "30", "40"]
    score = [0, 0]
    games = [0, 0]
    calls = []
    for winner in points:
        score[winner == "B"] += 1
        a, b = score
        if max(a, b) >= 4 and abs(a - b) >= 2:
            games[b > a] += 1
            score = [0, 0]
            calls.append(f"game {'AB'[b > a]}")
        elif a == b and a >= 3:
            calls.append("deuce")
        elif min(a, b) >= 3:
            calls.append("adv " + ("A" if a > b else "B"))
        else:
            calls.append(names[a] + "-" + names[b])
    return calls[-6:], games
""",
        r"""
"AABBABAA"
"AAAA"
""
"BBBBB"
"ABABABAB"
"AAABBBABBB"
"BABABBB"
"AAAABBBBAAAA"
"ABABABABABAA"
"BAAAAB"
""",
    ),
    program(
        "Two players roll the same given dice around a small board; landing on the other one sends it home.",
        r"""
def f(rolls, goal):
    places = [0, 0]
    player = 0
    log = []
    for roll in rolls:
        target = places[player] + roll
        if target > goal:
            target = goal - (target - goal)
        places[player] = target
        if target == places[1 - player] and target:
            places[1 - player] = 0
            log.append("hit" + str(target))
        if target == goal:
            return log, f"player {player + 1} wins", places
        if roll != 6:
            player = 1 - player
    return log, "open", places
""",
        r"""
[3, 3, 2, 5, 4], 10
[6, 6], 12
[], 5
[1, 1, 1, 1, 1, 1], 20
[5, 4, 3, 4, 6, 1], 9
[6, 1, 6, 2, 3], 15
[2, 2, 2, 2, 2], 6
[4, 5, 6, 3, 5, 1, 2], 11
[6, 6, 6, 5], 18
[3, 1, 4, 1, 5, 6, 2], 13
""",
    ),
    program(
        "A process scheduler hands out short turns; who finishes when, and who waited longest?",
        r"""
from collections import deque


def f(jobs, turn):
    line = deque(jobs.items())
    clock = 0
    finished = {}
    while line:
        name, left = line.popleft()
        used = min(turn, left)
        clock += used
        if left > used:
            line.append((name, left - used))
        else:
            finished[name] = clock
    waits = {name: end - jobs[name] for name, end in finished.items()}
    return finished, max(waits, key=lambda name: (waits[name], name), default="")
""",
        r"""
{"a": 5, "b": 2, "c": 4}, 2
{"x": 3}, 10
{}, 1
{"p": 1, "q": 1, "r": 1}, 1
{"m": 10, "n": 1}, 3
{"k": 4, "l": 4}, 4
{"web": 7, "db": 3, "log": 2, "ui": 6}, 3
{"u": 0, "v": 2}, 1
{"s": 8, "t": 8, "w": 1}, 5
{"one": 2, "two": 4, "three": 6, "four": 8}, 2
""",
    ),
    program(
        "A rope with knots: the head moves, each knot follows the one before when it is too far away.",
        r"""
def f(moves, knots):
    rope = [(0, 0)] * knots
    visited = {(0, 0)}
    step = {"U": (0, 1), "D": (0, -1), "L": (-1, 0), "R": (1, 0)}
    for move in moves:
        dx, dy = step[move]
        rope[0] = (rope[0][0] + dx, rope[0][1] + dy)
        for k in range(1, knots):
            gap_x = rope[k - 1][0] - rope[k][0]
            gap_y = rope[k - 1][1] - rope[k][1]
            if max(abs(gap_x), abs(gap_y)) < 2:
                break
            rope[k] = (rope[k][0] + (gap_x > 0) - (gap_x < 0), rope[k][1] + (gap_y > 0) - (gap_y < 0))
        visited.add(rope[-1])
    return rope, len(visited)
""",
        r"""
"RRRRUUUU", 2
"RRUU", 3
"", 2
"UDUDUD", 2
"RRRRUUUULLLD", 4
"LLLLL", 1
"RURURURU", 3
"DDDRRRUUULLL", 2
"RRRLLLLLL", 3
"UURRDDLLUURR", 5
""",
    ),
    program(
        "Messages may come in any order; they are delivered in order of their numbers, and what waits too long is asked for again.",
        r"""
def f(arrivals, window):
    expected = 1
    buffer = {}
    log = []
    for number, text in arrivals:
        if number < expected or number in buffer:
            log.append(f"dup {number}")
            continue
        buffer[number] = text
        delivered = ""
        while expected in buffer:
            delivered += buffer.pop(expected)
            expected += 1
        if delivered:
            log.append(delivered)
        elif len(buffer) >= window:
            log.append(f"resend {expected}")
    return log, sorted(buffer)
""",
        r"""
[(2, "b"), (1, "a"), (4, "d"), (5, "e"), (3, "c")], 2
[], 1
[(1, "x"), (1, "x")], 3
[(3, "c"), (2, "b")], 1
[(1, "h"), (2, "i"), (3, "!")], 2
[(5, "e"), (4, "d"), (3, "c"), (2, "b"), (1, "a")], 3
[(2, "o"), (2, "o"), (1, "n")], 2
[(10, "z"), (1, "a"), (11, "y"), (12, "x")], 3
[(1, "p"), (3, "q"), (2, "r"), (3, "s")], 5
[(4, "u"), (1, "r"), (2, "s"), (6, "w"), (3, "t")], 2
""",
    ),
    program(
        "Undo and redo in a drawing program.",
        r"""
def f(actions):
    done, undone = [], []
    for action in actions:
        if action == "undo":
            if done:
                undone.append(done.pop())
        elif action == "redo":
            if undone:
                done.append(undone.pop())
        elif action.startswith("repeat "):
            times = int(action.split()[1])
            done += done[-1:] * times
            undone.clear()
        else:
            done.append(action)
            undone = []
    return done, undone
""",
        r"""
["line", "box", "undo", "undo", "redo", "dot"]
["undo", "redo"]
[]
["a", "b", "c", "undo", "undo"]
["x", "repeat 3", "undo"]
["repeat 2"]
["p", "undo", "q", "redo"]
["m", "n", "undo", "redo", "redo", "undo"]
["dot", "dot", "repeat 2", "undo", "undo", "redo"]
["k", "undo", "undo", "l", "repeat 1", "redo"]
""",
    ),
    program(
        "An ant on an endless board turns right on white, left on black, and flips what it leaves.",
        r"""
def f(steps, black):
    black = {tuple(cell) for cell in black}
    x, y, heading = 0, 0, 0
    moves = [(0, -1), (1, 0), (0, 1), (-1, 0)]
    for _ in range(steps):
        if (x, y) in black:
            heading = (heading - 1) % 4
            black.discard((x, y))
        else:
            heading = (heading + 1) % 4
            black.add((x, y))
        x, y = x + moves[heading][0], y + moves[heading][1]
    return (x, y), "NESW"[heading], sorted(black)
""",
        r"""
5, []
0, [(1, 1)]
1, []
12, []
4, [(0, 0), (1, 0)]
20, [(-1, 0)]
8, [(0, 0)]
30, []
3, [(1, 0), (1, 1), (0, 1)]
15, [(2, 2)]
""",
    ),
    program(
        "Water flows between three tanks through pipes that open and close; levels even out a little in each minute.",
        r"""
def f(levels, schedule):
    tanks = list(levels)
    history = []
    for pipe in schedule:
        a, b = {"x": (0, 1), "y": (1, 2), "z": (2, 0)}.get(pipe, (0, 0))
        flow = (tanks[a] - tanks[b]) // 2 if tanks[a] >= tanks[b] else -((tanks[b] - tanks[a]) // 2)
        flow = max(-5, min(5, flow))
        tanks[a] -= flow
        tanks[b] += flow
        history.append(tuple(tanks))
    return history[-3:], max(tanks) - min(tanks)
""",
        r"""
[20, 0, 4], "xyzx"
[1, 2, 3], ""
[10, 10, 10], "xyz"
[0, 30, 0], "xxyyz"
[7, 0, 0], "-x-y-z"
[100, 0, 0], "xyzxyzxyz"
[3, 8, 1], "zzz"
[5, 4, 9], "yxy"
[0, 0, 13], "zyzy"
[40, 20, 60], "zxyzxy"
""",
    ),
    program(
        "A password meter walks through the characters once and remembers what kinds it has met.",
        r"""
def f(password):
    state = {"lower": 0, "upper": 0, "digit": 0, "other": 0}
    streak, last, penalty = 0, None, 0
    for letter in password:
        if letter.islower():
            kind = "lower"
        elif letter.isupper():
            kind = "upper"
        elif letter.isdigit():
            kind = "digit"
        else:
            kind = "other"
        state[kind] += 1
        streak = streak + 1 if kind == last else 1
        if streak > 3:
            penalty += streak - 3
        last = kind
    kinds = sum(count > 0 for count in state.values())
    return max(0, len(password) * kinds - penalty), state
""",
        r"""
"Abc123!!"
"aaaaaaa"
""
"A1b2C3"
"1234567890"
"correct horse"
"PassWORD99"
"....."
"x"
"Tr0ub4dor&3"
""",
    ),
    program(
        "Bacteria on a line split, move and die out according to their energy.",
        r"""
def f(colony, food, rounds):
    for _ in range(rounds):
        following = []
        for place, energy in colony:
            if 0 <= place < len(food) and food[place] > 0:
                food = [*food[:place], food[place] - 1, *food[place + 1:]]
                energy += 2
            else:
                energy -= 1
            if energy >= 6:
                following += [(place - 1, energy // 2), (place + 1, energy - energy // 2)]
            elif energy > 0:
                following.append((place, energy))
        colony = following
    return colony, food
""",
        r"""
[(2, 4)], [1, 1, 3, 1, 1], 3
[], [5], 2
[(0, 1)], [0], 1
[(0, 5), (1, 5)], [9, 9], 2
[(1, 2)], [0, 4, 0], 4
[(3, 10)], [], 3
[(0, 3), (2, 3)], [1, 0, 1], 0
[(1, 4), (1, 4)], [2, 2, 2], 3
[(4, 7)], [1, 1, 1, 1, 1, 1, 1], 4
[(0, 2), (1, 1), (2, 3)], [1, 2, 3], 3
""",
    ),
    program(
        "A robot arm sorts parcels onto three belts, with a rule for fragile and heavy ones; a belt that is full is driven off.",
        r"""
def f(parcels, capacity):
    belts = {"soft": [], "heavy": [], "rest": []}
    trucks = []
    for name, weight, fragile in parcels:
        belt = "soft" if fragile else "heavy" if weight > 20 else "rest"
        load = sum(w for _, w in belts[belt])
        if load + weight > capacity and belts[belt]:
            trucks.append((belt, load))
            belts[belt] = []
        belts[belt].append((name, weight))
    waiting = {belt: "".join(name for name, _ in items) for belt, items in belts.items() if items}
    return trucks, waiting
""",
        r"""
[("a", 10, False), ("b", 25, False), ("c", 5, True), ("d", 15, False), ("e", 9, False)], 30
[], 10
[("x", 100, False)], 50
[("p", 4, True), ("q", 4, True), ("r", 4, True)], 8
[("k", 21, True), ("l", 20, False)], 40
[("m", 30, False), ("n", 30, False), ("o", 30, False)], 60
[("s", 1, False), ("t", 2, False), ("u", 3, False), ("v", 4, False)], 5
[("w", 22, False), ("y", 7, True), ("z", 22, False), ("j", 7, True)], 25
[("g", 12, False), ("h", 12, True), ("i", 12, False)], 20
[("e", 0, False), ("f", 50, True), ("d", 1, True)], 50
""",
    ),
    program(
        "A counter with wheels that do not all have ten digits; it is turned forwards and backwards.",
        r"""
class Odometer:
    def __init__(self, sizes):
        self.sizes = sizes
        self.wheels = [0] * len(sizes)
        self.overflows = 0

    def turn(self, amount):
        for i in range(len(self.sizes) - 1, -1, -1):
            amount, self.wheels[i] = divmod(self.wheels[i] + amount, self.sizes[i])
        self.overflows += amount


def f(sizes, turns):
    odometer = Odometer(sizes)
    shown = []
    for amount in turns:
        odometer.turn(amount)
        shown.append("-".join(map(str, odometer.wheels)))
    return shown, odometer.overflows
""",
        r"""
[24, 60, 60], [3661, -1, 86400]
[10], [7, 7, 7]
[2, 3, 4], [23, 1]
[], [5]
[12, 20], [245, -300]
[7, 24], [25, 25, 25, 25]
[3, 3, 3], [13, 13, -27]
[16, 16], [255, 1, -1]
[60, 1000], [1500, 58500]
[5, 2, 10], []
""",
    ),
    program(
        "Domino effect: each tile falls to one side when pushed; equal pushes from both sides hold it up.",
        r"""
def f(tiles):
    state = list(tiles)
    seconds = 0
    while True:
        following = list(state)
        for i, tile in enumerate(state):
            if tile != ".":
                continue
            from_left = i > 0 and state[i - 1] == "R"
            from_right = i + 1 < len(state) and state[i + 1] == "L"
            if from_left != from_right:
                following[i] = "R" if from_left else "L"
        if following == state:
            return "".join(state), seconds, state.count(".")
        state, seconds = following, seconds + 1
""",
        r"""
".L.R...LR..L.."
"RR.L"
""
"...."
"R......"
"R...L"
"R....L"
"..L..R.."
"L.R.L.R.L"
".....L.R....."
""",
    ),
    program(
        "A clock face with an alarm; knobs are turned and time passes.",
        r"""
def f(events):
    minutes, alarm, rings = 0, None, []
    for event in events:
        kind, value = event
        if kind == "pass":
            for _ in range(value):
                minutes = (minutes + 1) % 720
                if minutes == alarm:
                    rings.append(minutes)
                    alarm = (alarm + 5) % 720 if len(rings) < 3 else None
        elif kind == "set":
            minutes = (minutes + value) % 720
        else:
            alarm = value % 720
    return f"{minutes // 60 or 12}:{minutes % 60:02d}", rings, alarm
""",
        r"""
[("alarm", 30), ("pass", 60)]
[]
[("set", 90), ("alarm", 95), ("pass", 7)]
[("pass", 721)]
[("alarm", 10), ("set", 20), ("pass", 20)]
[("set", -15), ("pass", 5), ("alarm", 0), ("pass", 30)]
[("alarm", 715), ("set", 700), ("pass", 15), ("pass", 10)]
[("alarm", 60), ("alarm", 61), ("pass", 61)]
[("set", 359), ("pass", 2)]
[("alarm", 1), ("pass", 3), ("set", 0), ("pass", 3), ("alarm", 200)]
""",
    ),
    program(
        "Cards are played on piles: a card has to be smaller than the top one; otherwise it begins a new pile. In the end all are merged.",
        r"""
from bisect import bisect_left


def f(cards):
    piles, tops = [], []
    for card in cards:
        place = bisect_left(tops, card)
        if place == len(tops):
            piles.append([])
            tops.append(card)
        tops[place] = card
        piles[place].append(card)
    merged = []
    while any(piles):
        smallest = min((pile for pile in piles if pile), key=lambda pile: pile[-1])
        merged.append(smallest.pop())
    return len(piles), tops, merged
""",
        r"""
[7, 2, 8, 1, 3, 4, 10, 6, 9, 5]
[1]
[]
[3, 2, 1]
[1, 2, 3]
[5, 5, 5]
[4, 8, 3, 9, 1]
[10, 20, 5, 15, 25, 1]
[6, 3, 5, 10, 11, 2, 9, 14]
[2, 9, 2, 8, 1]
""",
    ),
]
