# Copyright (c) The mmpointrend authors.
"""Changes of bytes, of texts and of nested objects."""

import json
import math
import random
import struct
from collections.abc import Callable, Sequence
from typing import Any

from fuzzing.cases import LARGEST

__all__ = ['INTERESTING', 'mutate_bytes', 'mutate_object', 'mutate_text_object', 'some']

INTERESTING = (
    *(
        -(2**63),
        -(2**31),
        -(2**15),
        -129,
        -128,
        -2,
        -1,
        0,
        1,
        2,
        3,
        4,
        7,
        8,
        15,
        16,
        17,
        31,
        32,
        64,
        100,
    ),
    *(
        127,
        128,
        255,
        256,
        257,
        1000,
        1023,
        4096,
        32767,
        32768,
        65535,
        65536,
        10**6,
        2**24,
        2**27,
        10**9,
    ),
    *(2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**40, 2**62, 2**63 - 1, 2**64 - 1, 2**64, 10**30),
)


def some(rng: random.Random, largest: int = 6) -> int:
    """How many changes at once: mostly one or two.

    Args:
        rng: Source of chance.
        largest: At most so many.

    Returns:
        1 to ``largest``.
    """
    return min(largest, 1 + int(rng.expovariate(0.9)))


def mutate_bytes(
    rng: random.Random,
    content: bytes,
    tokens: Sequence[bytes] = (),
    others: Sequence[bytes] = (),
) -> bytes:
    """Change a few places of some bytes.

    Args:
        rng: Source of chance.
        content: The bytes.
        tokens: What the format is made of.
        others: Other contents, to take pieces from.

    Returns:
        Other bytes, at most ``LARGEST``.
    """
    data = bytearray(content)
    for _ in range(some(rng)):
        place = rng.randrange(len(data) + 1)
        length = 1 + int(rng.expovariate(0.2))
        choice = rng.randrange(11)
        if choice == 0 and data:
            data[place % len(data)] ^= 1 << rng.randrange(8)
        elif choice == 1 and data:
            data[place % len(data)] = rng.randrange(256)
        elif choice == 2:
            data[place:place] = rng.randbytes(length)
        elif choice == 3:
            del data[place : place + length]
        elif choice == 4:
            del data[place:]
        elif choice == 5:
            data[place:place] = data[place : place + length] * rng.choice((1, 1, 2, 50))
        elif choice == 6:
            data[place : place + length] = bytes([rng.choice((0, 255, 32, 128))]) * length
        elif choice == 7:
            packed = _packed(rng)
            data[place : place + len(packed)] = packed
        elif choice == 8 and tokens:
            token = rng.choice(tokens)
            data[place : place + rng.choice((0, 0, len(token)))] = token
        elif choice == 9 and others:
            other = rng.choice(others)
            start = rng.randrange(len(other) + 1)
            data[place : place + rng.choice((0, length, 1 << 30))] = other[
                start : start + rng.choice((length, 10 * length, 1 << 30))
            ]
        else:
            other_place = rng.randrange(len(data) + 1)
            piece = data[other_place : other_place + length]
            data[place : place + len(piece)] = piece
    return bytes(data[:LARGEST])


def _packed(rng: random.Random) -> bytes:
    """An interesting number as a few bytes."""
    size, code = rng.choice(((1, 'B'), (2, 'H'), (4, 'I'), (8, 'Q')))
    number = rng.choice(INTERESTING) % (1 << 8 * size)
    return struct.pack(rng.choice('<>') + code, number)


def _deep(rng: random.Random) -> Any:
    nested: Any = 0
    for _ in range(rng.choice((3, 30, 300))):
        nested = [nested]
    return nested


_VALUES: tuple[Callable[[random.Random], Any], ...] = (
    lambda rng: rng.choice(INTERESTING),
    lambda rng: rng.choice((-1, 0, 1, 2, 3, 4, 8, 16)),
    lambda rng: rng.uniform(-20, 20),
    lambda rng: rng.choice((math.nan, math.inf, -math.inf, 1e308, 1e-320, -0.0, 0.5, 1e20)),
    lambda rng: rng.choice((None, True, False)),
    lambda rng: rng.choice(
        ('', 'x', '1', 'nan', '\0', '\ud800', '\n', 'a' * 300, '🜁', '-1', '../x', '/dev/zero')
    ),
    lambda rng: rng.choice(([], {}, [[]], [None], [[0]], {'': 0}, [0] * 4, [{}], [1.5] * 7)),
    _deep,
)


def _value(rng: random.Random, tokens: Sequence[Any]) -> Any:
    if tokens and rng.random() < 0.35:
        return rng.choice(tokens)
    return rng.choice(_VALUES)(rng)


def _places(node: Any, found: list[tuple[Any, Any]], limit: int = 400) -> None:
    """Every place (container, key) below a node, the first few hundred."""
    if len(found) > limit:
        return
    keys = (
        list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
    )
    for key in keys:
        found.append((node, key))
        _places(node[key], found, limit)


def mutate_object(rng: random.Random, root: Any, tokens: Sequence[Any] = ()) -> Any:
    """Change a few places of nested dicts and lists, in place.

    Args:
        rng: Source of chance.
        root: A dict or list that nobody else holds.
        tokens: Values and keys that the format knows.

    Returns:
        The changed object, mostly the same one.
    """
    for _ in range(some(rng, 4)):
        places: list[tuple[Any, Any]] = []
        _places(root, places)
        if not places or rng.random() < 0.01:
            return _value(rng, tokens)
        node, key = rng.choice(places)
        choice = rng.randrange(12)
        if choice < 5:
            node[key] = _near(rng, node[key]) if rng.random() < 0.3 else _value(rng, tokens)
        elif choice < 7:
            del node[key]
        elif choice == 7 and isinstance(node, list):
            node.insert(key, json.loads(json.dumps(node[key])))
        elif choice == 7:
            node[str(_value(rng, tokens))[:400]] = node[key]
        elif choice == 8:
            other, other_key = rng.choice(places)
            node[key] = json.loads(json.dumps(other[other_key]))
        elif choice == 9:
            node[key] = [node[key]] * rng.choice((1, 1, 2, 20))
        elif choice == 10 and isinstance(node, dict):
            node[rng.choice(('', 'x', str(key).upper(), str(key) + ' '))] = node.pop(key)
        elif choice == 10:
            rng.shuffle(node)
        else:
            node[key] = str(node[key]) if rng.random() < 0.5 else {str(key): node[key]}
    return root


def _near(rng: random.Random, value: Any) -> Any:
    """A value like the one that was there."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + rng.choice((-1, 1, 2, 100, -value - 1)) if rng.random() < 0.7 else -value
    if isinstance(value, float):
        return value * rng.choice((-1, 0, 1e-3, 1e3, 1e30))
    if isinstance(value, str):
        return mutate_bytes(rng, value.encode(errors='replace')).decode('latin1')
    if isinstance(value, list):
        return value[: rng.randrange(len(value) + 1)]
    return value


_JSON_TOKENS = tuple(
    token.encode()
    for token in (
        '{',
        '}',
        '[',
        ']',
        '"',
        ',',
        ':',
        'NaN',
        '-Infinity',
        '1e999',
        'null',
        '\\ud800',
        '\ufeff',
        '[' * 2000,
    )
)


def mutate_text_object(
    rng: random.Random, content: bytes, tokens: Sequence[Any] = (), others: Sequence[bytes] = ()
) -> bytes:
    """Change a JSON file: mostly the objects in it, sometimes the text.

    Args:
        rng: Source of chance.
        content: The file.
        tokens: Values and keys that the format knows.
        others: Other files.

    Returns:
        Another file.
    """
    if rng.random() < 0.85:
        try:
            root = json.loads(content)
            return json.dumps(mutate_object(rng, root, tokens)).encode()[:LARGEST]
        except (ValueError, RecursionError):
            pass
    return mutate_bytes(rng, content, _JSON_TOKENS, others)
