"""Breaking valid data at random: its bytes, its tokens, its lines, and the tree that JSON stands for."""

import json
import re

NUMBERS = (
    b"0",
    b"-0",
    b"-1",
    b"1",
    b"255",
    b"65536",
    b"2147483648",
    b"-2147483649",
    b"4294967296",
    b"9007199254740993",
    b"9223372036854775807",
    b"9223372036854775808",
    b"18446744073709551616",
    b"1e3",
    b"0.5",
    b"1e308",
    b"1e999",
    b"NaN",
    b"nan",
    b"inf",
    b"Infinity",
    b"0x10",
    b"1_0",
    b"9" * 400,
)
TOKENS = (
    b"",
    b"\x00",
    b"\n",
    b"\r\n",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\xed\xa0\x80",
    b"{",
    b"}",
    b"[",
    b"]",
    b'"',
    b"'",
    b"=",
    b",",
    b":",
    b"#",
    b"null",
    b"true",
    b"false",
    b"{}",
    b"[]",
    b'""',
    b'"x"',
    b"1979-05-27",
    b"../..",
    b"/dev/zero",
    b"~x",
    b"%s%n",
    b"\\ud800",
    b"<!ENTITY x 'y'>",
    b"&x;",
)
VALUES = (
    None,
    True,
    False,
    0,
    1,
    -1,
    0.5,
    -1.5,
    1e308,
    2**31,
    2**63,
    -(2**63) - 1,
    10**400,
    "",
    "x",
    "0",
    "-1",
    "1e999",
    "\x00",
    "\ud7ff",
    "x" * 5000,
    [],
    [[]],
    [None],
    [0],
    ["x", "x"],
    {},
    {"": 0},
    {"x": {}},
)


def mutated(rng, seed, others):
    """Return valid data broken at random.

    Args:
        rng: ``random.Random``.
        seed: The data, as bytes.
        others: More of its kind, to mix it with.
    """
    data = seed
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        data = rng.choice((_bytes, _bytes, _token, _token, _line, _tree, _tree, _mixed))(rng, data, others)
    return data


def _bytes(rng, data, others):
    """Change, insert, repeat or drop some bytes, or cut off what follows."""
    at = rng.randrange(len(data) + 1)
    end = min(len(data), at + rng.choice((0, 1, 1, 2, 8, 64, 1024)))
    kind = rng.randrange(6)
    if kind == 0 and at < len(data):
        return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
    if kind == 1:
        return data[:at] + rng.randbytes(end - at) + data[end:]
    if kind == 2:
        return data[:at] + data[end:]
    if kind == 3:
        return data[:end] + data[at:end] * rng.choice((1, 1, 2, 100)) + data[end:]
    if kind == 4:
        return data[:at]
    return data[:at] + rng.choice(TOKENS) + data[end:]


def _token(rng, data, others):
    """Replace a number, a word or a text by another."""
    found = list(re.finditer(rb'-?\d[\d.eE+_]*|"[^"\n]*"|[A-Za-z_]\w*', data[:20_000]))
    if not found:
        return data
    token = rng.choice(found)
    other = rng.choice((rng.choice(NUMBERS), rng.choice(TOKENS), rng.choice(found)[0]))
    return data[: token.start()] + other + data[token.end() :]


def _line(rng, data, others):
    """Drop, repeat or move a line."""
    lines = data.splitlines(keepends=True)
    if not lines:
        return data
    line = lines.pop(rng.randrange(len(lines)))
    for _ in range(rng.choice((0, 1, 2))):
        lines.insert(rng.randrange(len(lines) + 1), line)
    return b"".join(lines)


def _mixed(rng, data, others):
    """Go on with the rest of other data."""
    other = rng.choice(others)
    return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :]


def _tree(rng, data, others):
    """Change a place in the tree of a JSON document, or of one of its lines."""
    lines = data.split(b"\n")
    number = rng.randrange(len(lines))
    for text, put in (
        (data, lambda new: new),
        (lines[number], lambda new: b"\n".join([*lines[:number], new, *lines[number + 1 :]])),
    ):
        try:
            tree = json.loads(text)
        except (ValueError, RecursionError):
            continue
        return put(json.dumps(changed_tree(rng, tree)).encode())
    return _token(rng, data, others)


def changed_tree(rng, tree):
    """Return a tree of plain data with one place changed."""
    places = []

    def visit(node, depth):
        entries = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        for key, child in entries:
            places.append((node, key))
            if depth < 30:
                visit(child, depth + 1)

    visit(tree, 0)
    if not places:
        return rng.choice(VALUES)
    node, key = rng.choice(places)
    kind = rng.randrange(6)
    if kind == 0:
        del node[key]
    elif kind == 1:
        other, place = rng.choice(places)
        node[key] = json.loads(json.dumps(other[place])) if _has(other, place) else None
    elif kind == 2 and isinstance(node, dict):
        node[rng.choice(("", "x", "nodes", "type", key.upper(), key + "s"))] = node.pop(key)
    elif kind == 3 and isinstance(node, list):
        node.extend([node[key]] * rng.choice((1, 2, 50)))
    elif kind == 4 and isinstance(node[key], int):
        node[key] += rng.choice((-1, 1, 2**32))
    else:
        node[key] = rng.choice(VALUES)
    return tree


def _has(node, key):
    return key in node if isinstance(node, dict) else key < len(node)
