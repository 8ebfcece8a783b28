"""Seeds over sequences: sorting, windows, partitions, selections."""

from seed_programs import program

PROGRAMS = [
    program(
        "Neighbours are compared; the list is cut into pieces that never go down.",
        r"""
def f(numbers):
    runs = []
    for number in numbers:
        if runs and runs[-1][-1] <= number:
            runs[-1].append(number)
        else:
            runs.append([number])
    return runs
""",
        r"""
[3, 5, 5, 2, 8, 1]
[1, 2, 3]
[]
[9, 7, 5]
[4]
[0, -1, 0, 1, -2]
[2, 2, 2, 1, 1]
[10, 20, 15, 15, 30, 5]
["b", "c", "a", "d"]
[1.5, 0.5, 2.0, 2.5]
""",
    ),
    program(
        "Merge two sorted lists, but tell for each element where it came from.",
        r"""
def f(left, right):
    merged = []
    i = j = 0
    while i < len(left) or j < len(right):
        if j == len(right) or (i < len(left) and left[i] <= right[j]):
            merged.append((left[i], "L"))
            i += 1
        else:
            merged.append((right[j], "R"))
            j += 1
    return merged
""",
        r"""
[1, 4, 9], [2, 4, 10]
[], [1, 2]
[3], []
[], []
[1, 1, 1], [1]
[-5, 0, 5], [-6, 6]
["a", "d"], ["b", "c"]
[7, 8], [1, 2, 3]
[2, 4, 6], [1, 3, 5, 7]
[0.5], [0.25, 0.75]
""",
    ),
    program(
        "Sum of each window of the given size, letting one element in and one out; the position of the best window comes along.",
        r"""
def f(numbers, size):
    if size > len(numbers):
        return [], -1
    total = sum(numbers[:size])
    sums = [total]
    for i in range(size, len(numbers)):
        total += numbers[i] - numbers[i - size]
        sums.append(total)
    return sums, sums.index(max(sums))
""",
        r"""
[1, 3, -2, 5, 4, -1], 3
[5], 1
[1, 2], 3
[2, 2, 2, 2], 2
[10, -10, 10, -10, 10], 1
[1, 2, 3, 4, 5, 6], 4
[-1, -2, -3], 2
[0, 0, 7, 0, 0], 2
[3, 1, 4, 1, 5, 9, 2, 6], 5
[100, 1, 1, 100], 2
""",
    ),
    program(
        "The stretch of numbers with the largest sum, as start, end and sum.",
        r"""
def f(numbers):
    best = (0, 0, 0)
    start = total = 0
    for i, number in enumerate(numbers):
        if total <= 0:
            start, total = i, 0
        total += number
        if total > best[2]:
            best = (start, i + 1, total)
    return best
""",
        r"""
[-2, 1, -3, 4, -1, 2, 1, -5, 4]
[-1, -2]
[]
[5, 4, -1, 7, 8]
[1, -1, 1, -1, 1]
[8, -19, 5, -4, 20]
[0, 0, 3]
[-3, 2, 2, -3, 4]
[6, -6, 6]
[2, -1, 2, -1, 2, -10, 5]
""",
    ),
    program(
        "How many pairs stand in the wrong order? They are counted while the list is sorted.",
        r"""
def f(numbers):
    def sort(part):
        if len(part) < 2:
            return part, 0
        middle = len(part) // 2
        left, a = sort(part[:middle])
        right, b = sort(part[middle:])
        merged, count = [], a + b
        while left and right:
            if right[0] < left[0]:
                count += len(left)
                merged.append(right.pop(0))
            else:
                merged.append(left.pop(0))
        return merged + left + right, count

    return sort(list(numbers))
""",
        r"""
[3, 1, 2]
[1, 2, 3, 4]
[5, 4, 3, 2, 1]
[]
[2, 2, 1, 1]
[7, 3, 9, 1]
[10, -1, 4, 4, 0]
[8, 1]
[1, 3, 2, 3, 1]
[6, 5, 12, 10, 9, 1]
""",
    ),
    program(
        "Sorting by the number of digits, then by last digit, then by value, with negatives counted as they look without sign.",
        r"""
def f(numbers):
    def key(number):
        digits = str(abs(number))
        return len(digits), digits[-1], number

    ordered = sorted(numbers, key=key)
    return ordered[::-1] if len(ordered) % 2 else ordered
""",
        r"""
[31, 5, 202, 14, 7]
[10, 20, 30, 40]
[]
[-15, 15, 25, 105]
[9, 8, 7]
[100, 1, 10]
[42]
[-3, 3, -30, 30]
[123, 321, 213, 132]
[0, 11, 101, -1, 91, 81]
""",
    ),
    program(
        "Take the numbers in turns: the largest left, the smallest left, and so on, until they are used up or the limit is passed.",
        r"""
from collections import deque


def f(numbers, limit):
    line = deque(sorted(numbers))
    taken, total = [], 0
    while line:
        number = line.pop() if len(taken) % 2 == 0 else line.popleft()
        if total + number > limit:
            break
        total += number
        taken.append(number)
    return taken, limit - total
""",
        r"""
[4, 8, 1, 9, 3], 20
[5, 5, 5], 100
[], 10
[10], 5
[1, 2, 3, 4, 5, 6], 15
[-2, 7, 0, 3], 6
[9, 9, 1, 1], 19
[2, 4, 6, 8, 10], 30
[3, 1], 4
[50, 20, 10], 60
""",
    ),
    program(
        "Each number looks to the right for the next larger one.",
        r"""
def f(numbers):
    answer = [None] * len(numbers)
    waiting = []
    for i, number in enumerate(numbers):
        while waiting and numbers[waiting[-1]] < number:
            answer[waiting.pop()] = number
        waiting.append(i)
    return answer, [numbers[i] for i in waiting]
""",
        r"""
[2, 1, 2, 4, 3]
[1, 2, 3]
[3, 2, 1]
[]
[5, 5, 6]
[1, 3, 2, 4]
[7]
[4, 5, 2, 25, 7, 8]
[-1, -3, -2, 0]
[10, 9, 11, 8, 12]
""",
    ),
    program(
        "Rotate, drop, repeat: who is left in the circle?",
        r"""
def f(people, step):
    circle = list(people)
    order = []
    place = 0
    while len(circle) > 1:
        place = (place + step - 1) % len(circle)
        order.append(circle.pop(place))
    return circle, order
""",
        r"""
["Ann", "Bob", "Cid", "Dee", "Eva"], 2
[1, 2, 3, 4, 5, 6, 7], 3
["x"], 4
[], 1
[1, 2, 3, 4], 1
["a", "b", "c"], 5
[10, 20, 30, 40, 50, 60], 7
["red", "green", "blue", "grey"], 10
[1, 2], 2
[5, 4, 3, 2, 1], 4
""",
    ),
    program(
        "Rain collects between the bars of a chart; how much water stays, and over which bars?",
        r"""
def f(heights):
    if not heights:
        return 0, []
    left = [max(heights[:i + 1]) for i in range(len(heights))]
    right = [max(heights[i:]) for i in range(len(heights))]
    water = [min(a, b) - h for a, b, h in zip(left, right, heights)]
    return sum(water), [i for i, depth in enumerate(water) if depth > 0]
""",
        r"""
[0, 1, 0, 2, 1, 0, 1, 3, 2, 1, 2, 1]
[4, 2, 0, 3, 2, 5]
[]
[3, 2, 1]
[5, 0, 5]
[1, 1, 1]
[2, 0, 2, 0, 3]
[6, 1, 2, 6]
[0, 3, 0, 1, 0]
[9, 1, 9, 1, 9]
""",
    ),
    program(
        "The list is split so that the two sums are as close as possible, without changing the order.",
        r"""
from itertools import accumulate


def f(numbers):
    total = sum(numbers)
    best_gap, best_cut = abs(total), 0
    for cut, head in enumerate(accumulate(numbers), 1):
        gap = abs(total - 2 * head)
        if gap < best_gap:
            best_gap, best_cut = gap, cut
    return numbers[:best_cut], numbers[best_cut:], best_gap
""",
        r"""
[1, 2, 3, 4, 5]
[10, 1, 1]
[]
[7]
[2, 2, 2, 2]
[1, 1, 1, 100]
[-4, 4, 3, -3, 6]
[9, 3, 4, 1, 1]
[5, 5, 10]
[0, 0, 1, 0]
""",
    ),
    program(
        "Flatten what is nested, but remember how deep each thing was.",
        r"""
def f(tree):
    result = []
    todo = [(tree, 0)]
    while todo:
        item, depth = todo.pop()
        if isinstance(item, (list, tuple)):
            todo.extend((part, depth + 1) for part in reversed(item))
        else:
            result.append((item, depth))
    return result
""",
        r"""
[1, [2, [3, 4]], 5]
[]
[[["deep"]], "top"]
(1, 2, (3, [4]))
"word"
[[], [[]], 0]
[True, [False, None]]
[["a", "b"], ["c", ["d"]]]
[[1], [2], [3, [4, [5]]]]
{"not": "a list"}
""",
    ),
    program(
        "Deal the items into hands, one after the other, with the direction of dealing turning at each end.",
        r"""
def f(items, hands):
    dealt = [[] for _ in range(hands)]
    for i, item in enumerate(items):
        turn, place = divmod(i, hands)
        dealt[place if turn % 2 == 0 else hands - 1 - place].append(item)
    return dealt
""",
        r"""
[1, 2, 3, 4, 5, 6, 7], 3
["a", "b", "c"], 2
[], 2
[9, 8, 7, 6], 4
[1, 2, 3, 4, 5, 6, 7, 8], 2
["x"], 3
[1, 1, 2, 2, 3, 3], 1
[10, 20, 30, 40, 50, 60, 70, 80, 90], 4
["Q", "K", "J", "A"], 3
[0, 1, 0, 1, 0], 2
""",
    ),
    program(
        "Three-way split around a pivot, done in place by exchanging.",
        r"""
def f(numbers, pivot):
    items = list(numbers)
    low, here, high = 0, 0, len(items)
    swaps = 0
    while here < high:
        if items[here] < pivot:
            items[low], items[here] = items[here], items[low]
            swaps += low != here
            low, here = low + 1, here + 1
        elif items[here] > pivot:
            high -= 1
            items[here], items[high] = items[high], items[here]
            swaps += high != here
        else:
            here += 1
    return items, low, high, swaps
""",
        r"""
[5, 3, 8, 5, 1, 9], 5
[1, 2, 3], 2
[], 0
[3, 3, 3], 3
[9, 8, 7], 1
[1, 2], 7
[4, 1, 4, 0, 4], 4
[2, 0, 2, 1, 1, 0], 1
[10, -10, 0, 5, -5], 0
[6, 2, 9, 4], 5
""",
    ),
    program(
        "Values are replaced by their place in the sorted order; equal values share the middle of their places.",
        r"""
def f(scores):
    places = {}
    for place, score in enumerate(sorted(scores, reverse=True), 1):
        places.setdefault(score, []).append(place)
    middle = {score: sum(taken) / len(taken) for score, taken in places.items()}
    return [middle[score] for score in scores]
""",
        r"""
[90, 85, 90, 70]
[1, 1, 1]
[]
[10]
[3, 1, 2]
[5, 5, 4, 4]
[0, -1, -1, -1, 2]
[7, 7, 7, 7, 8]
[2.5, 3.5, 2.5]
[100, 50, 75, 50, 50, 100]
""",
    ),
    program(
        "Bubbles rise: show the list after every pass that changed something.",
        r"""
def f(items):
    row = list(items)
    passes = []
    end = len(row) - 1
    while end > 0:
        last = 0
        for i in range(end):
            if row[i] > row[i + 1]:
                row[i], row[i + 1] = row[i + 1], row[i]
                last = i
        if last or row != (passes[-1] if passes else list(items)):
            passes.append(list(row))
        end = last
    return passes
""",
        r"""
[5, 1, 4, 2]
[1, 2, 3]
[3, 2, 1]
[]
[2, 1]
["d", "a", "c", "b"]
[1, 5, 2, 4, 3]
[9, 9, 1]
[0, -1, -2, -3]
[6, 3, 8, 2]
""",
    ),
    program(
        "Numbers that are not there: which gaps does the collection leave between its ends, as ranges?",
        r"""
def f(numbers):
    present = sorted(set(numbers))
    gaps = []
    for left, right in zip(present, present[1:]):
        if right - left == 2:
            gaps.append(str(left + 1))
        elif right - left > 2:
            gaps.append(f"{left + 1}-{right - 1}")
    return ", ".join(gaps) or "none"
""",
        r"""
[1, 2, 5, 9, 11]
[3, 2, 1]
[]
[10]
[100, 1]
[4, 4, 6, 6]
[-3, 0, 2]
[20, 10, 15]
[7, 9, 11, 13]
[0, 1, 50, 52, 60]
""",
    ),
    program(
        "Zip lists of different lengths, cycling the shorter ones, and combine what meets by the sign of its sum.",
        r"""
from itertools import cycle, islice


def f(rows):
    if not all(rows):
        return []
    longest = max(map(len, rows), default=0)
    columns = zip(*(islice(cycle(row), longest) for row in rows))
    result = []
    for column in columns:
        total = sum(column)
        result.append(max(column) if total > 0 else min(column) if total < 0 else 0)
    return result
""",
        r"""
[[1, -2, 3], [-4, 5], [2]]
[[1, 2], [3, 4]]
[]
[[5]]
[[1, 1, 1, 1], [-1]]
[[-3, -2, -1], [2, 1]]
[[1], []]
[[10, -10], [0, 0, 5], [-1, -1, -1]]
[[2, 4, 6, 8], [-5, 5]]
[[0], [0, 0]]
""",
    ),
    program(
        "A majority is sought by voting: supporters and opponents cancel each other; at the end the votes are really counted.",
        r"""
def f(votes):
    leader, lead = None, 0
    history = []
    for vote in votes:
        if lead == 0:
            leader = vote
        lead += 1 if vote == leader else -1
        history.append(f"{leader}{lead}")
    count = sum(vote == leader for vote in votes)
    return history, leader if count * 2 > len(votes) else "nobody"
""",
        r"""
["a", "b", "a", "c", "a"]
["x"]
[]
["a", "b", "c"]
["b", "b", "a", "a", "a"]
[1, 2, 1, 2]
["n", "n", "y", "n"]
[7, 7, 5, 5, 7, 7]
["p", "q", "q"]
[3, 3, 4, 4, 4, 4, 3]
""",
    ),
    program(
        "Every second element walks one way and the rest the other way, by the same distance.",
        r"""
def f(items, distance):
    evens, odds = items[::2], items[1::2]

    def turn(part, by):
        if not part:
            return part
        by %= len(part)
        return part[by:] + part[:by]

    evens, odds = turn(evens, distance), turn(odds, -distance)
    return [evens[i // 2] if i % 2 == 0 else odds[i // 2] for i in range(len(items))]
""",
        r"""
[1, 2, 3, 4, 5, 6], 1
["a", "b", "c", "d"], 2
[], 3
[9], 5
[1, 2, 3, 4, 5], -1
[0, 1, 2, 3, 4, 5, 6, 7], 3
["x", "y", "z"], 1
[10, 20, 30, 40, 50, 60, 70], 2
[1, 2], 7
[5, 4, 3, 2, 1, 0], 4
""",
    ),
    program(
        "Which elements are larger than everything before them, and which smaller? What remains is summed.",
        r"""
def f(numbers):
    records = {"high": [], "low": [], "rest": 0}
    for i, number in enumerate(numbers):
        before = numbers[:i]
        if not before or number > max(before):
            records["high"].append(number)
        elif number < min(before):
            records["low"].append(number)
        else:
            records["rest"] += number
    return records
""",
        r"""
[5, 3, 8, 6, 9, 1]
[1, 2, 3]
[3, 2, 1]
[]
[4, 4, 4]
[0, -5, 5, -10, 10]
[7, 9, 8, 8, 10, 2]
[100]
[2, 1, 2, 3, 2, 1, 0]
[-1, -2, -1, 0]
""",
    ),
    program(
        "Four numbers, one from each list, that cancel each other: count the ways.",
        r"""
from collections import Counter
from itertools import product


def f(a, b, c, d):
    sums = Counter(x + y for x, y in product(a, b))
    ways = 0
    hits = set()
    for x, y in product(c, d):
        if sums[-(x + y)]:
            ways += sums[-(x + y)]
            hits.add(x + y)
    return ways, sorted(hits)
""",
        r"""
[1, 2], [-2, -1], [-1, 2], [0, 2]
[0], [0], [0], [0]
[1], [1], [1], [1]
[], [1], [2], [3]
[1, 1], [0], [-1], [0]
[3, -3], [3, -3], [3, -3], [3, -3]
[0, 1, 2], [0, -1], [1], [-1, -2]
[5], [-5, 5], [10, -10], [0]
[1, 2, 3], [4, 5, 6], [-7, -8], [1, 0, -1]
[2, 4], [6, 8], [-9], [-1, -3]
""",
    ),
    program(
        "Pancakes: the stack is sorted by turning its top over; which turns are made?",
        r"""
def f(stack):
    pancakes = list(stack)
    flips = []
    for size in range(len(pancakes), 1, -1):
        where = pancakes.index(max(pancakes[:size]))
        if where == size - 1:
            continue
        if where:
            pancakes[:where + 1] = pancakes[where::-1]
            flips.append(where + 1)
        pancakes[:size] = pancakes[size - 1::-1]
        flips.append(size)
    return flips, pancakes
""",
        r"""
[3, 2, 4, 1]
[1, 2, 3]
[2, 1]
[]
[5, 4, 3, 2, 1]
[1, 3, 2]
[6, 1, 5, 2, 4, 3]
[10, 30, 20]
[7]
[2, 4, 1, 3]
""",
    ),
    program(
        "Count by steps of a sieve: which places survive when every second, then every third, then every fourth is struck out?",
        r"""
def f(count, rounds):
    places = list(range(1, count + 1))
    for step in range(2, rounds + 2):
        if step > len(places):
            break
        del places[step - 1::step]
    return places
""",
        r"""
20, 3
10, 1
5, 10
0, 2
1, 1
30, 5
15, 2
12, 0
25, 4
8, 6
""",
    ),
    program(
        "A plain list holds a heap. One value is put in, the smallest is taken out, and the list is shown each time.",
        r"""
import heapq


def f(values, operations):
    heap = list(values)
    heapq.heapify(heap)
    log = []
    for operation in operations:
        if operation == "pop":
            log.append(heapq.heappop(heap) if heap else "empty")
        else:
            heapq.heappush(heap, operation)
    return log, heap
""",
        r"""
[5, 3, 8], ["pop", 1, "pop", "pop"]
[], ["pop", 4, 2, "pop"]
[9, 7, 5, 3, 1], []
[1, 2, 3], [0, "pop"]
[4], ["pop", "pop"]
[10, 20, 15, 30], [12, 5, "pop", "pop"]
[2, 2, 2], [2, "pop"]
[6, 5, 4, 3, 2, 1], ["pop"]
[-1, -5, 3], [-9, "pop", 7]
[8, 6, 7, 5, 3, 0, 9], ["pop", "pop", "pop"]
""",
    ),
    program(
        "Choose cups so that none of them stand next to each other and together hold the most.",
        r"""
def f(cups):
    take, skip = (0, ()), (0, ())
    for i, amount in enumerate(cups):
        best = max(take, skip)
        take, skip = (skip[0] + amount, (*skip[1], i)), best
    total, chosen = max(take, skip)
    return total, list(chosen)
""",
        r"""
[2, 7, 9, 3, 1]
[1, 2, 3, 1]
[]
[5]
[4, 1, 1, 4]
[10, 1, 10, 1, 10]
[6, 6, 6, 6]
[3, 8, 4]
[20, 5, 1, 13, 6, 11, 40]
[1, 100, 1, 1, 100, 1]
""",
    ),
    program(
        "Where would the value have to be put so that the sorted list stays sorted, and how many equal ones are there already?",
        r"""
def f(ordered, values):
    answers = []
    for value in values:
        bounds = []
        for strict in (True, False):
            low, high = 0, len(ordered)
            while low < high:
                middle = (low + high) // 2
                if ordered[middle] < value or (not strict and ordered[middle] == value):
                    low = middle + 1
                else:
                    high = middle
            bounds.append(low)
        answers.append((bounds[0], bounds[1] - bounds[0]))
    return answers
""",
        r"""
[1, 3, 3, 3, 7, 9], [3, 8, 0]
[], [1, 2]
[5], [5, 4, 6]
[2, 4, 6, 8], [1, 3, 5, 7, 9]
[1, 1, 1, 1], [1]
[10, 20, 30], []
["a", "c", "c", "e"], ["c", "b"]
[-5, -5, 0, 5], [-5, 0, 1]
[1, 2, 3, 4, 5, 6, 7], [7, 4]
[0, 0, 1, 1, 1], [0, 1, 2]
""",
    ),
    program(
        "The numbers of one list, in the order that another list dictates; strangers follow at the end, sorted downwards.",
        r"""
def f(numbers, order):
    rank = {number: place for place, number in enumerate(order)}
    known = sorted((number for number in numbers if number in rank), key=rank.get)
    strange = sorted((number for number in numbers if number not in rank), reverse=True)
    unused = [number for number in order if number not in numbers]
    return known + strange, unused
""",
        r"""
[2, 3, 1, 3, 2, 4, 6, 7, 9, 2], [2, 1, 4, 3, 9, 6]
[1, 2, 3], [3, 2]
[], [1]
[5, 5, 6], []
[8, 7], [7, 8, 9]
["b", "a", "c"], ["c", "a"]
[10, 30, 20, 10], [20, 10, 5]
[0, -1, 1], [-1]
[4, 4, 4], [4]
[1, 9, 2, 8, 3, 7], [9, 8, 7]
""",
    ),
]
