"""Probes over numbers."""

from seed_programs import program

PROGRAMS = [
    program(
        "Every digit is replaced by what is missing to nine.",
        r"""
def f(number):
    turned = "".join(str(9 - int(digit)) for digit in str(number))
    return int(turned) + 1
""",
        r"""
1234
0
999
5
1000
90909
4444
19
8675309
50
""",
        "easy",
    ),
    program(
        "Add the numbers that one of the two divides but not both.",
        r"""
def f(limit, a, b):
    total = 0
    for n in range(1, limit):
        if (n % a == 0) != (n % b == 0):
            total += n
    return total
""",
        r"""
20, 3, 5
10, 2, 4
1, 1, 2
30, 6, 10
12, 5, 7
50, 7, 7
25, 1, 2
16, 3, 4
100, 11, 22
9, 10, 20
""",
        "easy",
    ),
    program(
        "A temperature and a wind tell what to wear.",
        r"""
def f(degrees, wind):
    felt = degrees - wind // 5
    if felt < 0:
        return "coat", felt
    if felt < 15:
        return "jacket", felt
    return ("shirt", felt) if wind < 30 else ("sweater", felt)
""",
        r"""
3, 20
25, 10
25, 35
-5, 0
15, 4
15, 5
40, 60
0, 4
18, 33
10, 100
""",
        "easy",
    ),
    program(
        "Start with a number; add its digits to it, so many times.",
        r"""
def f(n, times):
    seen = [n]
    for _ in range(times):
        n += sum(int(digit) for digit in str(n))
        seen.append(n)
    return seen
""",
        r"""
7, 5
0, 3
91, 4
100, 2
1, 8
999, 1
55, 3
12, 0
480, 4
20, 6
""",
        "easy",
    ),
    program(
        "Minutes are turned into hours and minutes, and rounded up to the quarter of an hour.",
        r"""
def f(minutes):
    rounded = -(-minutes // 15) * 15
    hours, rest = divmod(rounded, 60)
    return f"{hours}:{rest:02d}", rounded - minutes
""",
        r"""
50
0
61
15
134
599
7
1440
46
225
""",
        "easy",
    ),
    program(
        "How many squares fit on a strip, the largest first?",
        r"""
def f(length, width):
    squares = []
    while length > 0 and width > 0:
        if length < width:
            length, width = width, length
        squares.append(width)
        length -= width
    return squares
""",
        r"""
8, 3
5, 5
1, 4
10, 4
7, 2
0, 3
13, 8
6, 9
12, 5
20, 6
""",
        "easy",
    ),
    program(
        "Which of the three is in the middle, and how far are the others from it?",
        r"""
def f(a, b, c):
    low, middle, high = sorted([a, b, c])
    return middle, middle - low, high - middle
""",
        r"""
7, 2, 9
1, 1, 1
-3, 0, 3
10, 5, 5
100, 1, 50
8, -8, 0
2, 3, 2
1000, 10, 100
-1, -2, -3
6, 4, 5
""",
        "easy",
    ),
    program(
        "Numbers whose digits climb: the next one that has only rising digits.",
        r"""
def f(start, count):
    found = []
    n = start
    while len(found) < count:
        text = str(n)
        if all(a < b for a, b in zip(text, text[1:])):
            found.append(n)
        n += 1
        if n - start > 500:
            break
    return found, n - start
""",
        r"""
10, 4
98, 2
1, 3
119, 3
700, 1
45, 6
158, 5
0, 10
233, 2
350, 4
""",
        "medium",
    ),
    program(
        "A pocket calculator with a mistake: after each multiplication the last digit is lost.",
        r"""
def f(start, steps):
    value = start
    shown = []
    for step in steps:
        sign, number = step[0], int(step[1:])
        if sign == "+":
            value += number
        elif sign == "-":
            value -= number
        else:
            value = value * number
            value = -(-value // 10) if value < 0 else value // 10
        shown.append(value)
    return shown
""",
        r"""
12, ["*7", "+5", "*11", "-100"]
0, ["-7", "*3"]
5, []
100, ["*10", "*10", "*10"]
-9, ["*9", "*9", "+8"]
33, ["+3", "*3", "-3"]
1, ["*99", "*99"]
250, ["-500", "*4", "*4"]
7, ["*7", "*7", "*7"]
64, ["*5", "-40", "*25", "+1"]
""",
        "medium",
    ),
    program(
        "A bouncing ball loses a part of its height each time; heights in whole centimetres, until it is lower than the limit.",
        r"""
def f(height, percent, limit):
    way = 0
    heights = []
    while height >= limit and len(heights) < 25:
        heights.append(height)
        way += height
        height = height * percent // 100
        way += height
    return len(heights), way, heights[-1:] + [height]
""",
        r"""
100, 50, 10
20, 90, 15
5, 50, 10
1000, 70, 100
81, 66, 1
300, 0, 1
64, 75, 20
150, 99, 149
250, 40, 2
10, 100, 10
""",
        "medium",
    ),
    program(
        "The sum of fractions is kept reduced at each step; how many times was there something to reduce?",
        r"""
def f(fractions):
    top, bottom, reduced = 0, 1, 0
    for a, b in fractions:
        top, bottom = top * b + a * bottom, bottom * b
        x, y = abs(top), abs(bottom)
        while y:
            x, y = y, x % y
        if x > 1:
            reduced += 1
            top, bottom = top // x, bottom // x
    return f"{top}/{bottom}", reduced
""",
        r"""
[(1, 2), (1, 3), (1, 6)]
[]
[(3, 4), (3, 4)]
[(1, 5), (2, 7)]
[(-1, 2), (1, 2)]
[(2, 4), (2, 4), (2, 4)]
[(1, 2), (1, 4), (1, 8), (1, 16)]
[(5, 6), (-1, 3), (7, 10)]
[(9, 3)]
[(1, 10), (1, 15), (1, 6), (2, 3)]
""",
        "medium",
    ),
    program(
        "Numbers that are neither prime nor powers nor even: what is left in the range, grouped by last digit?",
        r"""
def f(low, high):
    groups = {}
    for n in range(low, high + 1):
        divisors = [d for d in range(2, n) if n % d == 0]
        if not divisors or n % 2 == 0:
            continue
        smallest = divisors[0]
        rest = n
        while rest % smallest == 0:
            rest //= smallest
        if rest > 1:
            groups.setdefault(n % 10, []).append(n)
    return groups
""",
        r"""
1, 40
10, 20
40, 60
90, 110
1, 5
15, 15
60, 80
21, 27
100, 106
119, 135
""",
        "medium",
    ),
    program(
        "Two wheels with different numbers of teeth turn together; when do the marked teeth meet again and how often did each turn?",
        r"""
def f(first, second, offset):
    steps = 0
    a, b = 0, offset % second
    history = set()
    while (a, b) != (0, 0):
        if (a, b) in history:
            return "never", len(history)
        history.add((a, b))
        a = (a + 1) % first
        b = (b + 1) % second
        steps += 1
    return steps, steps // first, (steps + offset) // second
""",
        r"""
4, 6, 2
3, 5, 1
4, 6, 1
7, 7, 0
2, 9, 5
10, 15, 5
8, 12, 3
5, 1, 4
6, 4, 2
9, 12, 6
""",
        "medium",
    ),
    program(
        "Read the number in one base, write it in another; signs and bad digits are dealt with.",
        r"""
def f(text, source, target):
    symbols = "0123456789abcdefghijklmnopqrstuvwxyz"
    negative = text.startswith("-")
    value = 0
    for letter in text.lstrip("-").lower():
        digit = symbols.find(letter)
        if digit < 0 or digit >= source:
            return "bad digit " + letter
        value = value * source + digit
    result = ""
    while value or not result:
        value, digit = divmod(value, target)
        result = symbols[digit] + result
    return "-" + result if negative and result != "0" else result
""",
        r"""
"ff", 16, 2
"1012", 3, 10
"129", 8, 10
"-zz", 36, 7
"0", 10, 2
"-0", 5, 9
"hello", 30, 16
"1000000", 10, 36
"7f", 15, 3
"-11111111", 2, 16
""",
        "medium",
    ),
    program(
        "A savings plan: coins of growing worth are put away on days chosen by a rule; what has been saved?",
        r"""
def f(days, rule, start):
    saved, coin = 0, start
    skipped = []
    for day in range(1, days + 1):
        if rule == "even" and day % 2:
            continue
        if rule == "week" and day % 7 in (6, 0):
            skipped.append(day)
            continue
        if rule == "double" and saved and saved % 2 == 0:
            coin += 1
        saved += coin
        if day % 10 == 0:
            coin *= 2
    return saved, coin, skipped
""",
        r"""
10, "even", 1
14, "week", 2
8, "double", 3
30, "all", 1
5, "week", 10
0, "even", 5
20, "double", 1
25, "even", 3
7, "all", 4
21, "week", 1
""",
        "medium",
    ),
    program(
        "Points on a line are joined to their nearest neighbour; ties go to the left. Who is nobody's nearest?",
        r"""
def f(points):
    ordered = sorted(set(points))
    nearest = {}
    for i, point in enumerate(ordered):
        others = ordered[max(0, i - 1):i] + ordered[i + 1:i + 2]
        if others:
            nearest[point] = min(others, key=lambda other: (abs(other - point), other))
    lonely = [point for point in ordered if point not in nearest.values()]
    mutual = [(a, b) for a, b in nearest.items() if a < b and nearest[b] == a]
    return lonely, mutual
""",
        r"""
[1, 4, 5, 9, 11]
[3]
[]
[0, 10]
[1, 2, 3, 4]
[5, 5, 8, 20, 21]
[-4, 0, 4, 7]
[100, 50, 25, 12, 6]
[2, 3, 7, 8, 12, 13]
[1, 10, 2, 20, 3, 30]
""",
        "medium",
    ),
    program(
        "The polynomial is multiplied out from its roots, then its slopes at the roots are computed.",
        r"""
def f(roots):
    coefficients = [1]
    for root in roots:
        shifted = coefficients + [0]
        for i, coefficient in enumerate(coefficients):
            shifted[i + 1] -= root * coefficient
        coefficients = shifted
    degree = len(coefficients) - 1
    slope = [coefficient * (degree - i) for i, coefficient in enumerate(coefficients[:-1])]
    at_roots = []
    for root in roots:
        value = 0
        for coefficient in slope:
            value = value * root + coefficient
        at_roots.append(value)
    terms = [f"{c:+d}x^{degree - i}" for i, c in enumerate(coefficients) if c]
    return " ".join(terms), at_roots
""",
        r"""
[1, 2]
[3]
[]
[2, -2]
[1, 1, -2]
[0, 1, 2]
[5, 5]
[-1, -2, -3]
[10, -10, 0]
[1, -1, 2, -2]
""",
        "hard",
    ),
    program(
        "Digits of a huge sum and product are computed as on paper, with the carries listed.",
        r"""
def f(first, second):
    a, b = first[::-1], second[::-1]
    carries, total, carry = [], "", 0
    for i in range(max(len(a), len(b))):
        column = carry + int(a[i] if i < len(a) else 0) + int(b[i] if i < len(b) else 0)
        carry, digit = divmod(column, 10)
        carries.append(carry)
        total = str(digit) + total
    if carry:
        total = str(carry) + total
    cells = [0] * (len(a) + len(b))
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            cells[i + j] += int(x) * int(y)
    biggest = max(cells, default=0)
    for i in range(len(cells) - 1):
        cells[i + 1] += cells[i] // 10
        cells[i] %= 10
    product = "".join(map(str, reversed(cells))).lstrip("0") or "0"
    return total, carries[::-1], product, biggest
""",
        r"""
"987", "46"
"5", "5"
"0", "123"
"999", "1"
"123456789", "987654321"
"25", "25"
"1000", "999"
"77", "7777"
"31415", "27182"
"111", "111"
""",
        "hard",
    ),
    program(
        "Magic with cards: eleven-like divisibility by a digit walk; the walk moves among remainders, and the route is compressed.",
        r"""
def f(number, divisor):
    remainder = 0
    route = []
    for digit in str(abs(number)):
        remainder = (remainder * 10 + int(digit)) % divisor
        route.append(remainder)
    jumps = [b - a for a, b in zip([0, *route], route)]
    runs = []
    for jump in jumps:
        kind = "up" if jump > 0 else "down" if jump < 0 else "stay"
        if runs and runs[-1][0] == kind:
            runs[-1] = (kind, runs[-1][1] + abs(jump))
        else:
            runs.append((kind, abs(jump)))
    changed = None
    for place, digit in enumerate(str(abs(number))):
        power = pow(10, len(str(abs(number))) - 1 - place, divisor)
        for other in range(10):
            if (remainder + (other - int(digit)) * power) % divisor == 0:
                changed = (place, other)
                break
        if changed:
            break
    return remainder, runs, changed
""",
        r"""
123456, 7
1001, 11
0, 3
99999, 13
271828, 9
5, 10
-31415, 6
1000000, 17
4096, 8
86420, 12
""",
        "hard",
    ),
    program(
        "A number game: from the goal back to the start, undoing plus and times, with the fewest steps; forbidden numbers are avoided.",
        r"""
def f(start, goal, plus, times, forbidden):
    frontier = {goal: ""}
    seen = {goal}
    steps = 0
    while frontier and steps < 15:
        if start in frontier:
            return steps, frontier[start]
        following = {}
        for number, path in sorted(frontier.items()):
            options = [(number - plus, f"+{plus} " + path)]
            if times > 1 and number % times == 0:
                options.append((number // times, f"*{times} " + path))
            for before, way in options:
                if before >= 0 and before not in seen and before not in forbidden:
                    seen.add(before)
                    following[before] = way.strip()
        frontier = following
        steps += 1
    return -1, sorted(seen)[:5]
""",
        r"""
2, 20, 3, 2, []
1, 1, 5, 5, []
0, 7, 2, 3, []
3, 50, 4, 2, [10, 25]
1, 100, 1, 10, [10]
5, 4, 1, 2, []
4, 64, 6, 2, [32]
1, 31, 1, 2, [15]
10, 95, 5, 3, [30]
7, 23, 8, 1, []
""",
        "hard",
    ),
    program(
        "Calendar of a strange planet: months of changing lengths, leap years by two rules; which day comes so many days after a date?",
        r"""
def f(date, days, months, leap_every):
    year, month, day = date

    def length(year, month):
        extra = month == 0 and year % leap_every == 0 and year % (leap_every * 5) != 0
        return months[month] + extra

    leaps = 0
    while days > 0:
        left = length(year, month) - day
        if days <= left:
            day += days
            days = 0
        else:
            days -= left + 1
            day = 1
            leaps += month == 0 and length(year, month) > months[0]
            month += 1
            if month == len(months):
                month, year = 0, year + 1
    return (year, month, day), leaps
""",
        r"""
(8, 0, 1), 25, [10, 12], 4
(3, 1, 12), 1, [10, 12], 4
(20, 0, 10), 2, [10, 12], 4
(1, 0, 1), 0, [5], 2
(0, 2, 7), 30, [7, 7, 7], 3
(99, 0, 20), 100, [20, 30, 25, 15], 3
(5, 0, 5), 6, [6], 5
(2, 1, 1), 40, [8, 9, 10], 2
(10, 3, 4), 77, [11, 13, 17, 19], 2
(6, 0, 3), 9, [3, 3], 6
""",
        "hard",
    ),
]
