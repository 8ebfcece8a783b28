"""Seeds that read and write text formats: parsers, tokenisers, tables, templates."""

from seed_programs import program

PROGRAMS = [
    program(
        "A small calculator: numbers, the four operations, brackets, minus signs. Division rounds down.",
        r"""
import re


def f(text):
    tokens = re.findall(r"\d+|[-+*/()]", text)

    def atom():
        token = tokens.pop(0)
        if token == "-":
            return -atom()
        if token == "(":
            value = chain()
            tokens.pop(0)
            return value
        return int(token)

    def product():
        value = atom()
        while tokens and tokens[0] in "*/":
            value = value * atom() if tokens.pop(0) == "*" else value // atom()
        return value

    def chain():
        value = product()
        while tokens and tokens[0] in "+-":
            value = value + product() if tokens.pop(0) == "+" else value - product()
        return value

    return chain()
""",
        r"""
"2 * (3 + 4) - 10 / 3"
"7"
"-3 + 5"
"100 / 7 / 2"
"1 - 2 - 3"
"((2))*((3)+1)"
"2 + 3 * 4 - 5"
"-(4 - 9) * 2"
"10 - -3"
"8 / (3 - 5)"
""",
    ),
    program(
        "Lines of settings with sections become a nested table; values get the type that they look like.",
        r"""
def f(text):
    def typed(value):
        if value.lower() in ("yes", "no"):
            return value.lower() == "yes"
        if value.lstrip("-").isdigit():
            return int(value)
        return [typed(part.strip()) for part in value.split(",")] if "," in value else value

    settings, section = {}, "main"
    for line in text.splitlines():
        line = line.split("#")[0].strip()
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1]
        elif "=" in line:
            key, value = line.split("=", 1)
            settings.setdefault(section, {})[key.strip()] = typed(value.strip())
    return settings
""",
        r"""
"debug = yes\n[net]\nport = 8080  # default\nhosts = a, b"
""
"# only a comment"
"x=1\nx=2"
"[a]\n[b]\nk = -5"
"name = O = P\nflag=NO"
"[list]\nempty =\nmixed = 1, yes, two"
"no equals sign\nkey = value with spaces"
"[one]\na = 1\n[two]\na = 2\n[one]\nb = 3"
"size = 10x20\nratio = 0.5"
""",
    ),
    program(
        "A line of comma-separated fields in which quotes may protect commas and doubled quotes stand for one.",
        r"""
def f(line):
    fields, field = [], ""
    quoted = False
    i = 0
    while i < len(line):
        letter = line[i]
        if quoted and letter == '"' and line[i + 1:i + 2] == '"':
            field += '"'
            i += 1
        elif letter == '"':
            quoted = not quoted
        elif letter == "," and not quoted:
            fields.append(field)
            field = ""
        else:
            field += letter
        i += 1
    return [*fields, field], quoted
""",
        r"""
"1,\"two, three\",4"
"plain"
""
",,"
"\"say \"\"hi\"\"\",x"
"\"open, end"
"a,b,\"c\"d"
"\"\",\"\"\"\""
"x, y ,z"
"\"multi\nline\",2"
""",
    ),
    program(
        "A tree written as text with brackets is drawn with one indented line for each node.",
        r"""
def f(text):
    lines, name, depth = [], "", 0
    for letter in text + ",":
        if letter in "(),":
            if name:
                lines.append("  " * depth + name)
            name = ""
            depth += {"(": 1, ")": -1, ",": 0}[letter]
            if depth < 0:
                return ["too many )"]
        elif letter != " ":
            name += letter
    if depth:
        lines.append("missing " + ")" * depth)
    return lines
""",
        r"""
"root(left(a, b), right)"
"leaf"
""
"a(b(c(d)))"
"a(b"
"a)b"
"x, y, z"
"((n))"
"house(roof(tile,tile),wall(door),garden)"
"p(,q,)"
""",
    ),
    program(
        "Version numbers are checked against rules like >=1.2,<2; a missing part counts as zero.",
        r"""
def f(versions, rules):
    def parts(text):
        numbers = [int(part) for part in text.split(".")]
        return tuple(numbers + [0] * (3 - len(numbers)))

    def allowed(version):
        for rule in rules.split(","):
            sign = rule.rstrip("0123456789.")
            limit = parts(rule[len(sign):])
            here = parts(version)
            good = {"==": here == limit, ">=": here >= limit, "<": here < limit, "~": here[:2] == limit[:2], "!=": here != limit}
            if not good[sign]:
                return False
        return True

    return sorted(filter(allowed, versions), key=parts)
""",
        r"""
["1.10", "1.2", "2.0.1", "1.9.9"], ">=1.2,<2"
["0.1"], "==0.1.0"
[], "<1"
["3.1.4", "3.1", "3.2"], "~3.1"
["1", "2", "3"], "!=2"
["1.0.0", "1.0", "1"], "==1,>=1.0"
["10.0", "9.9", "9.10"], ">=9.9"
["2.5.1", "2.5.0", "2.4.9", "2.6"], "~2.5,!=2.5.1"
["0.0.1", "0.1", "1.0"], "<0.1"
["4.2", "4.1", "4.0"], ">=4,<5,!=4.1"
""",
    ),
    program(
        "A text template: names in braces are looked up, a bar gives filters.",
        r"""
import re


def f(template, values):
    filters = {
        "upper": str.upper,
        "title": str.title,
        "rev": lambda text: text[::-1],
        "len": lambda text: str(len(text)),
    }

    def replace(match):
        name, *names = [part.strip() for part in match[1].split("|")]
        text = str(values.get(name, "?" + name))
        for filter_name in names:
            text = filters.get(filter_name, lambda t: "!" + t)(text)
        return text

    return re.sub(r"\{([^{}]*)\}", replace, template)
""",
        r"""
"Dear {name|title}, you owe {sum} ({sum|rev})", {"name": "ann lee", "sum": 120}
"{missing}", {}
"no names", {"a": 1}
"{a}{b}{a}", {"a": "x", "b": "y"}
"{word|upper|rev|len}", {"word": "stack"}
"{x|nope}", {"x": 5}
"{{a}}", {"a": "inner"}
"{ spaced | upper }", {"spaced": "ok"}
"{list} {none|upper}", {"list": [1, 2], "none": None}
"{}", {"": "empty"}
""",
    ),
    program(
        "Durations such as 1h30m or 2d 5s are added up and written in the shortest way.",
        r"""
import re


def f(texts):
    seconds = {"d": 86400, "h": 3600, "m": 60, "s": 1}
    total = 0
    bad = []
    for text in texts:
        parts = re.findall(r"(\d+)\s*([dhms])", text)
        if not parts or re.sub(r"(\d+)\s*[dhms]|\s", "", text):
            bad.append(text)
            continue
        total += sum(int(number) * seconds[unit] for number, unit in parts)
    shown = ""
    for unit, size in seconds.items():
        count, total = divmod(total, size)
        shown += f"{count}{unit}" if count else ""
    return shown or "0s", bad
""",
        r"""
["1h30m", "45m", "10s"]
[]
["2d 5s", "23h 59m 55s"]
["abc", "3m"]
["90s", "90s"]
["1.5h"]
["0s"]
["100m", "100m", "x1h"]
["5 h", "7d"]
["1h 1h", "59s", "1s"]
""",
    ),
    program(
        "A table with aligned columns: text to the left, numbers to the right.",
        r"""
def f(rows):
    if not rows:
        return []
    columns = max(map(len, rows))
    filled = [list(row) + [""] * (columns - len(row)) for row in rows]
    widths = [max(len(str(row[c])) for row in filled) for c in range(columns)]
    lines = []
    for row in filled:
        cells = []
        for cell, width in zip(row, widths):
            text = str(cell)
            cells.append(text.rjust(width) if isinstance(cell, (int, float)) else text.ljust(width))
        lines.append("|".join(cells))
    return lines
""",
        r"""
[["apple", 3], ["fig", 12], ["banana"]]
[]
[[]]
[[1, 22, 333]]
[["a"], ["bb", "c"], ["d", "ee", "f"]]
[[1.5, "x"], [10, "yy"]]
[["name", "qty"], ["nut", 1000], ["bolt", 7]]
[[True, None]]
[["left", -5], ["l", 50]]
[["", 0], ["--", 10], ["----", 100]]
""",
    ),
    program(
        "Markdown-like marks become tags; unfinished marks stay as they are.",
        r"""
import re


def f(text):
    lines = []
    for line in text.split("\n"):
        level = len(line) - len(line.lstrip("#"))
        for mark, tag in (("**", "b"), ("*", "i"), ("`", "code")):
            pattern = re.escape(mark) + "(.+?)" + re.escape(mark)
            line = re.sub(pattern, rf"<{tag}>\1</{tag}>", line)
        if level:
            lines.append(f"<h{level}>{line.lstrip('# ')}</h{level}>")
        elif line.startswith("- "):
            lines.append(f"<li>{line[2:]}</li>")
        elif line:
            lines.append(line)
    return "".join(lines)
""",
        r"""
"# Title\nSome **bold** and *thin* text"
"plain"
""
"- one\n- two"
"2 * 3 * 4"
"**a** **b"
"`x = 1` and `y`"
"### deep # not"
"***both***"
"## *Soft*\n\n- `q`"
""",
    ),
    program(
        "A line of a log is taken apart: level, module and message; count by level and keep the last message of each module.",
        r"""
import re


def f(lines):
    pattern = re.compile(r"^\[(\w+)\]\s+([\w.]+):\s*(.*)$")
    levels, latest, skipped = {}, {}, 0
    for line in lines:
        match = pattern.match(line)
        if not match:
            skipped += 1
            continue
        level, module, message = match.groups()
        levels[level] = levels.get(level, 0) + 1
        latest[module.split(".")[0]] = message
    return levels, latest, skipped
""",
        r"""
["[INFO] net.http: started", "[WARN] db: slow", "[INFO] net: ready", "noise"]
[]
["[X] a:"]
["[A] m: 1", "[A] m: 2", "[B] m.n: 3"]
["INFO net: no brackets"]
["[E]   disk.sda:full: 99%", "[E] disk.sdb: ok"]
["", "  [I] x: leading"]
["[D] a.b.c: deep", "[D] a: shallow", "[I] b: c: d"]
["[ok] svc-1: dash in name"]
["[I] u: hello", "[W] v: bye", "[W] u: again", "?", "!"]
""",
    ),
    program(
        "A web address in parts; the query becomes a table with lists for repeated names.",
        r"""
def f(address):
    scheme, _, rest = address.partition("://")
    rest, _, fragment = rest.partition("#")
    rest, _, query = rest.partition("?")
    host, slash, path = rest.partition("/")
    name, _, port = host.partition(":")
    arguments = {}
    for pair in filter(None, query.split("&")):
        key, _, value = pair.partition("=")
        arguments.setdefault(key, []).append(value.replace("+", " "))
    return {
        "host": name,
        "port": int(port) if port else {"http": 80, "https": 443}.get(scheme, 0),
        "path": [part for part in path.split("/") if part not in ("", ".")],
        "query": arguments,
        "fragment": fragment,
    }
""",
        r"""
"https://example.org/a/b?x=1&y=two+words&x=3#top"
"http://localhost:8000/"
"ftp://files.net//pub/./x"
"https://h"
"http://a.b?q"
"x://y:1/z?=v"
"https://shop.io/cart?item=5&item=6&ok=#pay"
"http://w.x/y?a=b=c&&d=e"
"nothing"
"http://q.r/s/t/#/u?v=w"
""",
    ),
    program(
        "Morse with dots and dashes; letters are separated by a blank, words by a slash.",
        r"""
def f(text):
    codes = ".- -... -.-. -.. . ..-. --. .... .. .--- -.- .-.. -- -. --- .--. --.- .-. ... - ..- ...- .-- -..- -.-- --.."
    table = {chr(ord("a") + i): code for i, code in enumerate(codes.split())}
    if set(text) <= set(".-/ "):
        back = {code: letter for letter, code in table.items()}
        return " ".join("".join(back.get(code, "?") for code in word.split()) for word in text.split("/"))
    return "/".join(" ".join(table.get(letter, "#") for letter in word) for word in text.lower().split())
""",
        r"""
"Hello you"
"... --- ..."
""
".- / -..."
"a1"
"......"
"zebra"
".... .. / - .... . .-. ."
"x y z"
"--.- / .-.- / ."
""",
    ),
    program(
        "Ranges like 1-3,7,10-12 are expanded, or a list of numbers is written as ranges.",
        r"""
def f(data):
    if isinstance(data, str):
        numbers = set()
        for part in data.replace(" ", "").split(","):
            low, _, high = part.partition("-")
            if low:
                numbers.update(range(int(low), int(high or low) + 1))
        return sorted(numbers)
    text, ordered = [], sorted(set(data))
    start = 0
    for i in range(1, len(ordered) + 1):
        if i == len(ordered) or ordered[i] != ordered[i - 1] + 1:
            first, last = ordered[start], ordered[i - 1]
            text.append(f"{first}" if first == last else f"{first}-{last}" if last - first > 1 else f"{first},{last}")
            start = i
    return ",".join(text)
""",
        r"""
"1-3, 7, 10-12"
[1, 2, 3, 7, 10, 11, 12]
""
[5]
"4-2,9"
[3, 1, 2, 2]
"5-5,5"
[1, 2, 4, 5, 7]
"100"
[20, 19, 18, 30, 40, 41, 42, 43]
""",
    ),
    program(
        "A simple query over records: select, where, order.",
        r"""
def f(rows, query):
    words = query.split()
    clauses, current = {}, None
    for word in words:
        if word in ("select", "where", "order", "limit"):
            current = word
            clauses[current] = []
        else:
            clauses[current].append(word)
    result = list(rows)
    if "where" in clauses:
        name, sign, value = clauses["where"]
        test = {"=": lambda x: str(x) == value, ">": lambda x: x > int(value), "<": lambda x: x < int(value)}[sign]
        result = [row for row in result if test(row[name])]
    for name in reversed(clauses.get("order", [])):
        result.sort(key=lambda row: row[name.lstrip("-")], reverse=name.startswith("-"))
    if "limit" in clauses:
        result = result[:int(clauses["limit"][0])]
    return [tuple(row[name] for name in clauses["select"]) for row in result]
""",
        r"""
[{"n": "ann", "a": 31}, {"n": "bob", "a": 25}, {"n": "cid", "a": 40}], "select n where a > 26 order -a"
[], "select x"
[{"k": 1, "v": 9}, {"k": 2, "v": 8}], "select v k"
[{"c": "b", "d": 2}, {"c": "a", "d": 2}, {"c": "c", "d": 1}], "select c d order d c"
[{"m": 5}, {"m": 3}, {"m": 4}], "select m order m limit 2"
[{"city": "Rome", "pop": 3}, {"city": "Oslo", "pop": 1}], "select pop where city = Oslo"
[{"z": 1}], "select z where z < 1"
[{"p": 1, "q": "x"}, {"p": 1, "q": "y"}, {"p": 0, "q": "z"}], "select q order -p limit 1"
[{"t": 7, "u": 1}, {"t": 7, "u": 2}], "select u where t = 7 order -u"
[{"h": 10}, {"h": 20}, {"h": 30}], "limit 5 select h where h < 25"
""",
    ),
    program(
        "A chess-like position in a short notation is drawn, and material is counted.",
        r"""
def f(position):
    worth = {"p": 1, "n": 3, "b": 3, "r": 5, "q": 9, "k": 0}
    board, balance = [], 0
    for row in position.split("/"):
        line = ""
        for letter in row:
            if letter.isdigit():
                line += "." * int(letter)
            else:
                line += letter
                value = worth.get(letter.lower(), 0)
                balance += value if letter.isupper() else -value
        board.append(line)
    widths = {len(line) for line in board}
    return board, balance, len(widths) == 1
""",
        r"""
"r2k/1P2/4/R2K"
"8/8"
""
"ppp/3/QQ1"
"k1/K"
"4N/n4/2B2"
"x1x/X1X"
"rnbqk/ppppp/5/PPPPP/RNBQK"
"1q/Q1"
"10p/2"
""",
    ),
    program(
        "Which lines were added and removed between two versions of a text?",
        r"""
def f(old, new):
    a, b = old.split("\n"), new.split("\n")
    longest = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i in reversed(range(len(a))):
        for j in reversed(range(len(b))):
            same = a[i] == b[j]
            longest[i][j] = longest[i + 1][j + 1] + 1 if same else max(longest[i + 1][j], longest[i][j + 1])
    i = j = 0
    changes = []
    while i < len(a) or j < len(b):
        if i < len(a) and j < len(b) and a[i] == b[j]:
            i, j = i + 1, j + 1
        elif j == len(b) or (i < len(a) and longest[i + 1][j] >= longest[i][j + 1]):
            changes.append(f"-{i + 1} {a[i]}")
            i += 1
        else:
            changes.append(f"+{j + 1} {b[j]}")
            j += 1
    return changes
""",
        r"""
"one\ntwo\nthree", "one\n2\nthree\nfour"
"a", "a"
"", "x"
"a\nb\nc", "c\nb\na"
"p\nq\nr\ns", "p\ns"
"x\ny", "w\nx\ny\nz"
"k\nk\nk", "k"
"def\n  return", "def\n  pass\n  return\n"
"1\n2\n3\n4", "2\n4\n6"
"m\nn", "n\nm"
""",
    ),
    program(
        "Tokens of a tiny language, with their kinds; what cannot be read is reported by place.",
        r"""
import re


def f(source):
    kinds = [
        ("number", r"\d+(\.\d+)?"),
        ("name", r"[A-Za-z_]\w*"),
        ("sign", r"==|<=|>=|!=|[-+*/=<>]"),
        ("mark", r"[(){};,]"),
        ("space", r"\s+"),
    ]
    place, tokens = 0, []
    while place < len(source):
        for kind, pattern in kinds:
            match = re.compile(pattern).match(source, place)
            if match:
                if kind != "space":
                    tokens.append((kind, match[0]) if match[0] not in ("if", "else") else ("word", match[0]))
                place = match.end()
                break
        else:
            return tokens, f"cannot read {source[place]!r} at {place}"
    return tokens, "ok"
""",
        r"""
"if (x1 >= 2.5) y = x1 * 3;"
""
"a==b!=c"
"1.2.3"
"price = $5"
"elsewhere else"
"f(a,b)"
"   "
"_tmp<=-7"
"x = 'text'"
""",
    ),
    program(
        "A shopping receipt: amounts with two decimals as text, discounts in percent for the line above, total at the end.",
        r"""
def f(lines):
    total, last = 0, 0
    printed = []
    for line in lines:
        name, _, amount = line.rpartition(" ")
        if amount.endswith("%"):
            cut = last * int(amount[:-1]) // 100
            total -= cut
            printed.append(f"{name or 'discount'} -{cut / 100:.2f}")
        else:
            euros, _, cents = amount.partition(".")
            last = int(euros) * 100 + int((cents + "00")[:2])
            total += last
            printed.append(f"{name} {last / 100:.2f}")
    printed.append(f"total {total / 100:.2f}")
    return printed
""",
        r"""
["green tea 4.5", "member 10%", "bread 2.35"]
[]
["pen 1", "20%", "20%"]
["a 0.99", "b 0.01"]
["sofa 499.99", "sale 33%"]
["x 10.005"]
["milk 1.09", "milk 1.09", "coupon 50%"]
["lamp 25", "old 100%"]
["5%", "late 3"]
["book one 12.00", "book two 8.00", "clearance 25%", "bag 0.2"]
""",
    ),
    program(
        "A guitar tab or a music line: notes with octaves become distances on the keyboard.",
        r"""
def f(melody):
    base = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
    heights = []
    for note in melody.split():
        octave = int(note[-1]) if note[-1].isdigit() else 4
        height = base[note[0]] + 12 * octave
        height += note.count("#") - note[1:].count("b")
        heights.append(height)
    leaps = [b - a for a, b in zip(heights, heights[1:])]
    widest = max(leaps, key=abs, default=0)
    return leaps, widest, "up" if sum(leaps) > 0 else "down" if sum(leaps) < 0 else "level"
""",
        r"""
"C E G C5 B A# F"
"A"
""
"C4 C5 C3"
"Bb3 B3 C4"
"E D C D E E E"
"G G A G C5 B"
"F## Gb"
"C3 G3 D4 A4 E5"
"A4 G4 F4 E4 D4 C4 B3 A3"
""",
    ),
    program(
        "An outline with numbers like 1.2.3 made from the depth of indented lines.",
        r"""
def f(text):
    counters = []
    result = []
    for line in text.splitlines():
        if not line.strip():
            continue
        depth = (len(line) - len(line.lstrip(" "))) // 2
        depth = min(depth, len(counters))
        counters = counters[:depth + 1]
        if depth == len(counters):
            counters.append(0)
        counters[depth] += 1
        result.append(".".join(map(str, counters)) + " " + line.strip())
    return result
""",
        r"""
"intro\n  aims\n  scope\n    limits\nmethod\n  data"
""
"one"
"    too deep\n  still\nback"
"a\n\n  b\n\nc"
"x\n  y\n    z\n  y2\n    z2\nx2"
"p\n p2\n   p3"
"top\n  sub\n  sub\n  sub"
"  start\n  next\n    inner"
"k\n      l\n  m\n      n"
""",
    ),
    program(
        "Chemical formulas with brackets: how many atoms of each element?",
        r"""
import re
from collections import Counter


def f(formula):
    stack = [Counter()]
    for token, times in re.findall(r"([A-Z][a-z]?|[()])(\d*)", formula):
        if token == "(":
            stack.append(Counter())
            continue
        group = stack.pop() if token == ")" else {token: 1}
        for name, count in group.items():
            stack[-1][name] += count * int(times or 1)
    return dict(sorted(stack[0].items()))
""",
        r"""
"H2O"
"Ca(OH)2"
"C6H12O6"
"K4(ON(SO3)2)2"
"Fe"
"NaCl"
"Al2(SO4)3"
"CH3COOH"
"(NH4)2SO4"
"Mg(HCO3)2"
""",
    ),
    program(
        "Binary data as hexadecimal lines with offsets and readable letters.",
        r"""
def f(data, width):
    raw = data.encode() if isinstance(data, str) else bytes(data)
    lines = []
    for offset in range(0, len(raw), width):
        chunk = raw[offset:offset + width]
        numbers = " ".join(f"{byte:02x}" for byte in chunk)
        letters = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in chunk)
        lines.append(f"{offset:04x} {numbers:<{width * 3 - 1}} {letters}")
    return lines
""",
        r"""
"Hello, world", 8
"", 4
[0, 1, 2, 255], 2
"tab\there", 5
"é", 4
[72, 105], 1
"0123456789abcdef0", 16
[10, 13, 65, 66, 67], 3
"~!@", 8
[127, 128, 31, 32], 4
""",
    ),
    program(
        "A rule book with simple grammar: does the sentence follow it, and how far can it be read?",
        r"""
def f(grammar, sentence):
    words = sentence.split()

    def read(symbol, starts):
        if not starts:
            return set()
        if symbol not in grammar:
            return {s + 1 for s in starts if s < len(words) and words[s] == symbol}
        ends = set()
        for option in grammar[symbol]:
            here = starts
            for part in option.split():
                here = read(part, here)
            ends |= here
        return ends

    ends = read("S", {0})
    return len(words) in ends, sorted(ends)
""",
        r"""
{"S": ["NP VP"], "NP": ["the N", "N"], "N": ["dog", "cat"], "VP": ["sleeps", "sees NP"]}, "the dog sees cat"
{"S": ["a"]}, "a"
{"S": ["a S", "a"]}, "a a a"
{"S": ["x", "x y"]}, "x y z"
{"S": [""]}, ""
{"S": ["A B"], "A": ["p", "p p"], "B": ["p", "q"]}, "p p p"
{"S": ["( S )", "o"]}, "( ( o ) )"
{"S": ["( S )", "o"]}, "( o"
{"S": ["go D", "go D N"], "D": ["up", "down"], "N": ["1", "2"]}, "go up 2"
{"S": ["NP VP"], "NP": ["I", "you"], "VP": ["am", "are"]}, "I are here"
""",
    ),
    program(
        "Commands for a file system are replayed; how big is each folder?",
        r"""
def f(commands):
    path, sizes = [], {"/": 0}
    for command in commands:
        words = command.split()
        if words[0] == "cd":
            if words[1] == "..":
                path = path[:-1]
            elif words[1] == "/":
                path = []
            else:
                path = [*path, words[1]]
                sizes.setdefault("/" + "/".join(path), 0)
        else:
            for depth in range(len(path) + 1):
                folder = "/" + "/".join(path[:depth])
                sizes[folder] += int(words[1])
    return sizes
""",
        r"""
["cd home", "file 10", "cd docs", "file 5", "cd ..", "file 1", "cd /", "file 2"]
[]
["file 7"]
["cd ..", "file 1"]
["cd a", "cd b", "cd c", "file 9"]
["cd x", "cd ..", "cd x", "file 3"]
["cd a", "file 1", "cd /", "cd b", "file 2"]
["cd p", "cd /", "cd q"]
["cd v", "file 100", "file 250", "cd w", "file 50", "cd ..", "cd ..", "file 1"]
["cd m", "cd n", "file 4", "cd ..", "cd ..", "cd n", "file 6"]
""",
    ),
    program(
        "Poll answers come as text with all kinds of spelling; count yes, no and unclear.",
        r"""
def f(text):
    counts = {"yes": 0, "no": 0, "unclear": 0}
    rest = []
    for answer in text.replace(";", ",").split(","):
        word = answer.strip().strip("!.").lower()
        if not word:
            continue
        if word in ("y", "yes", "ja", "yep", "1", "true"):
            counts["yes"] += 1
        elif word in ("n", "no", "nein", "nope", "0", "false"):
            counts["no"] += 1
        elif word.startswith("not ") and word[4:] in ("yes", "no"):
            counts["no" if word[4:] == "yes" else "yes"] += 1
        else:
            counts["unclear"] += 1
            rest.append(word)
    leading = max(counts, key=lambda name: (counts[name], name == "unclear"))
    return leading, tuple(counts.values()), rest
""",
        r"""
"Yes, no; y, Nope!, maybe"
""
"1,0,1,0"
"not yes, NOT NO, not sure"
"JA;ja;nein"
" , ;; "
"YES!!!, yes., y!"
"true;false;TRUE;unknown"
"hm, well, er"
"n,N,no,No!,yep"
""",
    ),
    program(
        "Two-letter commands with numbers describe a path; the picture of the path is returned row by row.",
        r"""
import re


def f(path):
    x = y = 0
    cells = {}
    for letter, count in re.findall(r"([udlr])(\d*)", path):
        for _ in range(int(count or 1)):
            cells[x, y] = "-" if letter in "lr" else "|"
            x += (letter == "r") - (letter == "l")
            y += (letter == "d") - (letter == "u")
    cells[0, 0], cells[x, y] = "s", "e"
    xs, ys = [c[0] for c in cells], [c[1] for c in cells]
    return [
        "".join(cells.get((column, row), " ") for column in range(min(xs), max(xs) + 1)) for row in range(min(ys), max(ys) + 1)
    ]
""",
        r"""
"r4d2l2"
"u3"
""
"rdrdrd"
"l2u2r4d4"
"r2l2"
"d3r3u3l2"
"r10"
"ul"
"d2r2d2l4u4"
""",
    ),
    program(
        "Dates are written day.month.year; which weekday is it, and how many days remain in that year?",
        r"""
def f(date):
    day, month, year = (int(part) for part in date.split("."))
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    lengths = [31, 29 if leap else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
    if not 1 <= month <= 12 or not 1 <= day <= lengths[month - 1]:
        return "no such day"
    number = sum(lengths[:month - 1]) + day
    before = year - 1
    weekday = (before + before // 4 - before // 100 + before // 400 + number) % 7
    return ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"][weekday], sum(lengths) - number
""",
        r"""
"29.2.2024"
"1.1.2000"
"29.2.1900"
"31.12.1999"
"4.7.1776"
"31.4.2010"
"15.8.1947"
"9.11.1989"
"28.2.2100"
"1.13.2020"
""",
    ),
    program(
        "Assembler-like text with labels is turned into numbers: first the places of the labels, then the code.",
        r"""
def f(lines):
    codes = {"nop": 0, "load": 1, "add": 2, "store": 3, "jump": 4, "halt": 9}
    labels, statements = {}, []
    for line in lines:
        *names, statement = line.split(":")
        for name in names:
            labels[name.strip()] = len(statements)
        if statement.strip():
            statements.append(statement.split())
    words, unknown = [], []
    for operation, *operand in statements:
        value = operand[0] if operand else "0"
        if value not in labels and not value.isdigit():
            unknown.append(value)
        words.append(codes.get(operation, 8) * 100 + (labels[value] if value in labels else int(value) if value.isdigit() else 99))
    return words, unknown
""",
        r"""
["start: load 5", "loop: add 1", "store 20", "jump loop", "halt"]
[]
["a: b: nop"]
["jump end", "nop", "end:"]
["jump nowhere"]
["x:", "x: load x"]
["mul 3", "halt"]
["load 7", "top: add top", "jump top"]
["nop", "nop", "here:", "store here", "add there"]
["one: jump two", "two: jump one", "three: halt 3"]
""",
    ),
]
