"""Seeds over numbers: divisors, digits, sequences, fractions, approximations."""

from seed_programs import program

PROGRAMS = [
    program(
        "Taking a number apart into primes, and putting its divisors together again.",
        r"""
def f(n):
    factors = {}
    rest, p = n, 2
    while p * p <= rest:
        while rest % p == 0:
            factors[p] = factors.get(p, 0) + 1
            rest //= p
        p += 1
    if rest > 1:
        factors[rest] = factors.get(rest, 0) + 1
    divisors = [1]
    for prime, power in factors.items():
        divisors = [d * prime**k for d in divisors for k in range(power + 1)]
    return factors, len(divisors), sum(divisors) - n
""",
        r"""
60
1
13
28
97
360
1001
64
9973
2310
""",
    ),
    program(
        "Start anywhere; halve when even, triple and add one when odd. How long, how high?",
        r"""
def f(start, limit):
    seen = [start]
    while seen[-1] != 1 and len(seen) <= limit:
        n = seen[-1]
        seen.append(n // 2 if n % 2 == 0 else 3 * n + 1)
    peak = max(seen)
    return {"steps": len(seen) - 1, "peak": peak, "at": seen.index(peak), "done": seen[-1] == 1}
""",
        r"""
7, 100
1, 10
27, 50
27, 200
6, 100
16, 3
19, 100
97, 150
5, 5
1024, 20
""",
    ),
    program(
        "The greatest common divisor, with the two numbers that combine the arguments into it.",
        r"""
def f(a, b):
    old, new = (a, 1, 0), (b, 0, 1)
    quotients = []
    while new[0]:
        q = old[0] // new[0]
        quotients.append(q)
        old, new = new, tuple(x - q * y for x, y in zip(old, new))
    return old, quotients
""",
        r"""
240, 46
17, 5
0, 9
9, 0
100, 75
13, 13
1071, 462
8, 21
270, 192
3, 1000
""",
    ),
    program(
        "Which numbers up to the limit equal the sum of their digits, each raised to the number of digits?",
        r"""
def f(low, high):
    found = []
    near = None
    for n in range(low, high + 1):
        digits = [int(digit) for digit in str(n)]
        total = sum(digit ** len(digits) for digit in digits)
        if total == n:
            found.append(n)
        elif near is None or abs(total - n) < near[1]:
            near = (n, abs(total - n))
    return found, near
""",
        r"""
100, 500
1, 9
10, 99
370, 375
150, 160
1000, 1700
5, 4
400, 410
90, 120
8200, 8210
""",
    ),
    program(
        "A fraction as a sum of different unit fractions, always taking the largest that fits.",
        r"""
from fractions import Fraction


def f(numerator, denominator):
    left = Fraction(numerator, denominator)
    whole = left.numerator // left.denominator
    left -= whole
    units = []
    while left and len(units) < 8:
        unit = -(-left.denominator // left.numerator)
        units.append(unit)
        left -= Fraction(1, unit)
    return whole, units
""",
        r"""
7, 15
3, 4
5, 1
2, 3
9, 7
4, 13
0, 5
6, 14
8, 11
17, 6
""",
    ),
    program(
        "A decimal expansion with its repeating part in brackets.",
        r"""
def f(numerator, denominator):
    whole, rest = divmod(numerator, denominator)
    digits, met = "", {}
    while rest and rest not in met:
        met[rest] = len(digits)
        digit, rest = divmod(rest * 10, denominator)
        digits += str(digit)
    if not rest:
        return f"{whole}.{digits}" if digits else str(whole)
    at = met[rest]
    return f"{whole}.{digits[:at]}({digits[at:]})"
""",
        r"""
1, 6
1, 2
4, 3
10, 5
1, 7
22, 7
5, 12
0, 9
1, 81
355, 113
""",
    ),
    program(
        "Numbers written in a base of your choice, and the steps until the digits, added up again and again, become a single one.",
        r"""
def f(number, base):
    def digits_of(n):
        digits = []
        while n:
            n, digit = divmod(n, base)
            digits.append(digit)
        return digits[::-1] or [0]

    shown = digits_of(number)
    rounds = 0
    while number >= base:
        number = sum(digits_of(number))
        rounds += 1
    return shown, number, rounds
""",
        r"""
255, 16
0, 2
987654321, 10
1000, 3
7, 8
65535, 2
123456, 60
99, 10
4095, 7
31, 30
""",
    ),
    program(
        "A clock has only so many hours: powers and inverses on it.",
        r"""
def f(base, hours):
    cycle = []
    value = base % hours
    while value not in cycle:
        cycle.append(value)
        value = value * base % hours
    tail = cycle.index(value)
    inverse = next((x for x in range(1, hours) if base * x % hours == 1), None)
    return cycle[:tail], cycle[tail:], inverse
""",
        r"""
3, 7
2, 12
5, 10
10, 13
6, 8
4, 9
7, 15
2, 2
11, 21
0, 5
""",
    ),
    program(
        "Square roots by refining a guess with whole numbers only, and what is left over.",
        r"""
def f(n):
    guess = n
    steps = []
    while guess * guess > n:
        guess = (guess + n // guess) // 2
        steps.append(guess)
    return guess, n - guess * guess, steps[-3:]
""",
        r"""
2000
0
1
15
16
17
123456789
99
10000
8
""",
    ),
    program(
        "Rows of a triangle in which each number is the sum of the two above it, modulo something.",
        r"""
def f(rows, modulus):
    row = [1]
    zeros = 0
    for _ in range(rows):
        zeros += row.count(0)
        row = [1] + [(a + b) % modulus for a, b in zip(row, row[1:])] + [1]
    return row, zeros
""",
        r"""
5, 10
4, 2
8, 2
0, 7
1, 3
6, 5
10, 3
7, 100
12, 4
9, 9
""",
    ),
    program(
        "Happy or not: replace a number by the sum of the squares of its digits until something repeats.",
        r"""
def f(number):
    def step(n):
        return sum(int(digit) ** 2 for digit in str(n))

    slow, fast = number, step(number)
    moves = 0
    while fast != 1 and slow != fast:
        slow, fast = step(slow), step(step(fast))
        moves += 1
    if fast == 1:
        return "happy", moves
    loop = [slow]
    while step(loop[-1]) != slow:
        loop.append(step(loop[-1]))
    return "loop", moves, min(loop), len(loop)
""",
        r"""
19
4
1
7
100
986
2
49
12345
1111111
""",
    ),
    program(
        "Spell a number below a million in words.",
        r"""
def f(n):
    ones = "zero one two three four five six seven eight nine ten eleven twelve"
    ones += " thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
    tens = "twenty thirty forty fifty sixty seventy eighty ninety"
    ones, tens = ones.split(), tens.split()
    if n < 20:
        return ones[n]
    if n < 100:
        return tens[n // 10 - 2] + ("-" + ones[n % 10] if n % 10 else "")
    size, name = (100, "hundred") if n < 1000 else (1000, "thousand")
    head = f(n // size) + " " + name
    if n % size == 0:
        return head
    return head + (" and " if n % size < 100 else " ") + f(n % size)
""",
        r"""
342
0
13
80
99
1000
1005
21040
700700
999999
""",
    ),
    program(
        "Sieve the primes up to a limit; pairs at distance two and the largest gap are reported.",
        r"""
def f(limit):
    flags = [False, False] + [True] * max(0, limit - 1)
    for n in range(2, int(limit**0.5) + 1):
        if flags[n]:
            flags[n * n::n] = [False] * len(flags[n * n::n])
    primes = [n for n, flag in enumerate(flags) if flag]
    twins = sum(b - a == 2 for a, b in zip(primes, primes[1:]))
    gap = max(((b - a, -a) for a, b in zip(primes, primes[1:])), default=None)
    return len(primes), twins, gap and (gap[0], -gap[1])
""",
        r"""
50
2
1
10
100
30
200
3
7
1000
""",
    ),
    program(
        "The remainders are known, the number is sought.",
        r"""
def f(conditions):
    value, step = 0, 1
    for modulus, remainder in conditions:
        for _ in range(modulus):
            if value % modulus == remainder % modulus:
                break
            value += step
        else:
            return None, (modulus, remainder)
        a, b = step, modulus
        while b:
            a, b = b, a % b
        step = step * modulus // a
    return value, step
""",
        r"""
[(3, 2), (5, 3), (7, 2)]
[]
[(4, 1), (6, 3)]
[(4, 1), (6, 2)]
[(2, 1), (3, 1), (5, 1)]
[(10, 7)]
[(9, 8), (12, 11), (5, 4)]
[(11, 10), (13, 5)]
[(8, 3), (4, 2)]
[(17, 16), (2, 0), (9, 0)]
""",
    ),
    program(
        "A continued fraction: whole parts, and the fractions that come nearer and nearer.",
        r"""
def f(numerator, denominator):
    parts = []
    while denominator:
        parts.append(numerator // denominator)
        numerator, denominator = denominator, numerator % denominator
    near = [(0, 1), (1, 0)]
    for part in parts:
        near.append((part * near[-1][0] + near[-2][0], part * near[-1][1] + near[-2][1]))
    return parts, [f"{top}/{bottom}" for top, bottom in near[2:]]
""",
        r"""
415, 93
3, 1
1, 3
649, 200
13, 8
22, 7
0, 4
1000, 999
311, 100
5, 10
""",
    ),
    program(
        "Digits are sorted both ways and subtracted; repeat until it stands still or circles.",
        r"""
def f(number, width):
    path = []
    while number not in path:
        path.append(number)
        digits = sorted(str(number).zfill(width))
        number = int("".join(reversed(digits))) - int("".join(digits))
    return path, path[path.index(number):]
""",
        r"""
3524, 4
495, 3
1, 2
2111, 4
100, 3
9831, 4
77, 2
54, 2
53955, 5
7641, 4
""",
    ),
    program(
        "The sign of each number steers a product and a sum that fight each other.",
        r"""
def f(numbers):
    total, product = 0, 1
    history = []
    for number in numbers:
        if number < 0:
            total, product = product, total
        elif number % 2:
            total += number
        else:
            product *= number or 1
        history.append(total - product)
    return total, product, history
""",
        r"""
[3, 4, -1, 5, 2]
[]
[-1]
[2, 2, 2]
[1, 3, 5]
[0, -2, 0, 7]
[10, -1, 10, -1, 10]
[9, 8, 7, -6, 5, 4]
[-3, -3, 4]
[1, -1, 1, -1, 1, -1]
""",
    ),
    program(
        "Is the card number valid? Every second digit from the right counts double. Otherwise, which last digit would repair it?",
        r"""
def f(card):
    digits = [int(letter) for letter in card if letter.isdigit()]
    total = 0
    for place, digit in enumerate(reversed(digits)):
        if place % 2:
            digit = digit * 2 - 9 * (digit > 4)
        total += digit
    if total % 10 == 0:
        return "valid", total
    return "change last digit to", (digits[-1] - total) % 10
""",
        r"""
"4539 1488 0343 6467"
"1234 5678 9012 3456"
"0"
"79927398713"
"79927398710"
"18"
"5"
"6011-1111-1111-1117"
"99"
"4111 1111 1111 1112"
""",
    ),
    program(
        "Numbers whose neighbours in the sequence are decided by looking back as far as the latest numbers say.",
        r"""
def f(count, start):
    q = list(start)
    while len(q) < count:
        n = len(q)
        back, further = q[n - 1], q[n - 2]
        if not (1 <= back <= n and 1 <= further <= n):
            break
        q.append(q[n - back] + q[n - further])
    return q
""",
        r"""
12, [1, 1]
8, [1, 2]
10, [2, 1]
3, [5, 5]
15, [1, 1, 1]
6, [2, 2]
2, [4, 4]
9, [3, 1, 2]
20, [1, 1]
10, [1, 2, 3]
""",
    ),
    program(
        "How many ways to write the number as a sum of consecutive positive numbers? Show them from the shortest on.",
        r"""
def f(n):
    ways = []
    length = 1
    while length * (length + 1) // 2 <= n:
        first, rest = divmod(n - length * (length - 1) // 2, length)
        if rest == 0:
            ways.append(f"{first}..{first + length - 1}" if length > 1 else str(n))
        length += 1
    return ways
""",
        r"""
15
8
1
9
100
45
7
64
105
30
""",
    ),
    program(
        "Mean, middle value and most frequent value; the spread is measured around the middle value.",
        r"""
from statistics import median


def f(numbers):
    if not numbers:
        return "nothing to measure"
    middle = median(numbers)
    spread = median(abs(number - middle) for number in numbers)
    far = [number for number in numbers if spread and abs(number - middle) > 3 * spread]
    counts = {number: numbers.count(number) for number in numbers}
    mode = min(number for number in counts if counts[number] == max(counts.values()))
    return round(sum(numbers) / len(numbers), 2), middle, spread, mode, far
""",
        r"""
[1, 2, 2, 3, 14]
[5]
[]
[4, 4, 4, 4]
[10, 20, 30, 40]
[1.5, 2.5, 3.5, 100.0, 2.5]
[-5, 0, 5, 50, -50, 0]
[3, 1, 2]
[7, 7, 8, 8, 9, 1]
[100, 102, 98, 101, 99, 150, 97]
""",
    ),
    program(
        "Egyptian multiplication: doubling and halving, and which rows were added.",
        r"""
def f(a, b):
    sign = -1 if (a < 0) != (b < 0) else 1
    a, b = abs(a), abs(b)
    rows, total = [], 0
    while a:
        if a % 2:
            total += b
            rows.append(b)
        a, b = a // 2, b * 2
    return sign * total, rows
""",
        r"""
13, 24
0, 5
7, -3
-6, -6
1, 99
16, 16
25, 4
-1, 1
100, 11
31, 2
""",
    ),
    program(
        "A polynomial divided by a linear factor, with the value at that place as the remainder.",
        r"""
def f(coefficients, x):
    rows = []
    current = list(coefficients)
    while len(current) > 1:
        carry = 0
        quotient = []
        for coefficient in current:
            carry = carry * x + coefficient
            quotient.append(carry)
        remainder = quotient.pop()
        rows.append((quotient, remainder))
        if remainder:
            break
        current = quotient
    return rows
""",
        r"""
[1, -6, 11, -6], 1
[1, -2, 1], 1
[3], 5
[2, 0, -8], 2
[1, 0, 0, 0], 0
[1, 1, 1], -1
[4, -3, 2, 7], 3
[1, 3, 3, 1], -1
[5, -5], 1
[1, -10, 35, -50, 24], 4
""",
    ),
    program(
        "Which numbers can be measured exactly with the two jugs, and how is the wanted one reached by pouring?",
        r"""
def f(small, large, wanted):
    a = b = 0
    moves = []
    while wanted not in (a, b) and len(moves) < 30:
        if a == 0:
            a = small
            moves.append("fill")
        elif b == large:
            b = 0
            moves.append("empty")
        else:
            poured = min(a, large - b)
            a, b = a - poured, b + poured
            moves.append("pour" + str(poured))
    return (a, b), moves[:12], len(moves)
""",
        r"""
3, 5, 4
3, 5, 1
2, 4, 3
5, 3, 4
1, 10, 4
4, 9, 6
7, 7, 7
6, 10, 8
3, 8, 0
5, 11, 8
""",
    ),
    program(
        "A thousand separator, a unit and a rounding that depend on how big the amount is.",
        r"""
def f(amount, unit):
    sign = "-" if amount < 0 else ""
    amount = abs(amount)
    for factor, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if amount >= 10 * factor:
            whole, tenth = divmod((amount * 10 + factor // 2) // factor, 10)
            return f"{sign}{whole}.{tenth} {letter}{unit}"
    text = str(amount)
    groups = []
    while text:
        groups.insert(0, text[-3:])
        text = text[:-3]
    return f"{sign}{' '.join(groups)} {unit}"
""",
        r"""
1234567, "B"
9999, "m"
0, "W"
-15000, "g"
123456789012, "B"
10000, "m"
-42, "V"
99999999, "Hz"
9999999, "Hz"
10000000000, "t"
""",
    ),
    program(
        "Bulls and cows: which numbers are still possible after these guesses?",
        r"""
from itertools import permutations


def f(digits, size, guesses):
    def judge(secret, guess):
        bulls = sum(a == b for a, b in zip(secret, guess))
        return bulls, len(set(secret) & set(guess)) - bulls

    left = ["".join(p) for p in permutations(digits, size)]
    sizes = [len(left)]
    for guess, answer in guesses:
        left = [secret for secret in left if judge(secret, guess) == tuple(answer)]
        sizes.append(len(left))
    return sizes, left[:5]
""",
        r"""
"12345", 3, [("123", (1, 1)), ("142", (0, 2))]
"123", 2, []
"1234", 4, [("1234", (2, 2))]
"012345", 3, [("012", (0, 0))]
"abc", 3, [("abc", (0, 3)), ("bca", (3, 0))]
"12", 1, [("1", (0, 0))]
"123456", 4, [("1234", (0, 2)), ("5612", (2, 1))]
"6789", 3, [("678", (3, 1))]
"01234", 3, [("340", (1, 0)), ("104", (0, 2)), ("421", (1, 1))]
"98765", 2, [("98", (0, 1)), ("79", (1, 0))]
""",
    ),
    program(
        "Interest is added each year, a fixed rate is paid back; amounts are whole cents. When is the loan gone?",
        r"""
def f(loan, percent, rate):
    years, interest_paid = 0, 0
    balance = loan
    while balance > 0 and years < 40:
        interest = (balance * percent + 50) // 100
        if interest >= rate:
            return "never", interest - rate
        interest_paid += interest
        balance += interest - rate
        years += 1
    return years, interest_paid, rate + balance
""",
        r"""
100000, 5, 20000
1000, 10, 100
5000, 0, 1000
100, 3, 200
250000, 4, 15000
99, 1, 10
80000, 12, 9700
1, 50, 1
60000, 6, 7000
43210, 9, 4321
""",
    ),
]
