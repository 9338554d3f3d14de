"""Seeded damage to files: what disks, editors, other programs and people do to them."""

from __future__ import annotations

import json
import random
import re
import shutil
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Values that readers do not expect in the place of others. Texts are JSON, because some of them cannot be written by `dumps`.
ODD_VALUES = (
    "null",
    "true",
    "-1",
    "0",
    "1e999",
    "NaN",
    "-Infinity",
    "0.5",
    '""',
    '"\\ud800"',
    '"\\u0000"',
    '"a\\nb\\u001b[31m"',
    "[]",
    "{}",
    "[null]",
    '{"a": {"b": []}}',
    "9" * 30,
    "9" * 5000,
    "[" * 3000 + "]" * 3000,
    '{"a":' * 400 + "1" + "}" * 400,
    "[" * 30_000,
    '"' + "x" * 5000 + '"',
)
# Bytes that are inserted into files.
ODD_BYTES = (
    b"\0",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\r",
    b"\x1b[2J",
    b"\xed\xa0\x80",
    b'"',
    b"{",
    b"]",
    b",",
    b"\n",
    b"\xe9",
)
# Values in a line of TOML.
ODD_TOML = ("0x" + "f" * 5000, "1979-99-99", "2e", "''''", "inf", "[1, [2]]")
_MARK = "\ue000mark\ue001"


def flip_bits(rng: random.Random, data: bytes) -> bytes:
    """Flip one bit, or a few."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 8)) if data else 0):
        changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def truncate(rng: random.Random, data: bytes) -> bytes:
    """Remove the end."""
    return data[: rng.randrange(len(data) + 1)]


def cut_out(rng: random.Random, data: bytes) -> bytes:
    """Remove a part."""
    start = rng.randrange(len(data) + 1)
    return data[:start] + data[start + rng.randrange(1, 200) :]


def insert(rng: random.Random, data: bytes) -> bytes:
    """Insert bytes."""
    place = rng.randrange(len(data) + 1)
    return data[:place] + rng.choice(ODD_BYTES) * rng.choice((1, 1, 3)) + data[place:]


def repeat(rng: random.Random, data: bytes) -> bytes:
    """Write a part twice."""
    start = rng.randrange(len(data) + 1)
    end = start + rng.randrange(1, 500)
    return data[:end] + data[start:end] + data[end:]


def recode(rng: random.Random, data: bytes) -> bytes:
    """Write the text in another encoding."""
    text = data.decode("utf-8", "replace")
    return text.encode(rng.choice(("utf-16", "utf-16-le", "utf-32", "latin-1", "utf-7", "cp1252")), "replace")


def empty(rng: random.Random, data: bytes) -> bytes:
    """Write nothing, blanks or zeros."""
    return rng.choice((b"", b" \n", b"\0" * len(data), b"null", b"[]", b"{}", b'""'))


def change_json(rng: random.Random, data: bytes) -> bytes:
    """Change a value, remove it, or add a key, anywhere in a JSON file or in a line of a log."""
    lines = data.decode("utf-8", "replace").split("\n")
    whole = [k for k, line in enumerate(lines) if line[:1] in "{[" and line[-1:] in "}]" and len(line) > 2]
    try:
        if whole and len(lines) > 1 and len(whole) >= len(lines) - 1:
            k = rng.choice(whole)
            lines[k] = _changed(rng, json.loads(lines[k]))
            return "\n".join(lines).encode("utf-8", "surrogatepass")
        return _changed(rng, json.loads("\n".join(lines))).encode("utf-8", "surrogatepass")
    except ValueError:
        return change_line(rng, data)


def _changed(rng: random.Random, value: Any) -> str:
    places = list(_places(value))
    if places:
        container, key = rng.choice(places)
        what = rng.randrange(4)
        if what == 0:
            del container[key]
        elif what == 1 and isinstance(container, dict):
            container[rng.choice(("more", "", "key", "sha256", "__proto__"))] = _MARK
        else:
            container[key] = _MARK
    return json.dumps(value, ensure_ascii=False).replace(json.dumps(_MARK, ensure_ascii=False), rng.choice(ODD_VALUES))


def _places(value: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    if isinstance(value, dict | list):
        keys: Sequence[Any] = list(value) if isinstance(value, dict) else range(min(len(value), 5))
        for key in keys:
            found += [(value, key), *_places(value[key])]
    return found


def change_line(rng: random.Random, data: bytes) -> bytes:
    """Change, remove, repeat or move a line, or the value in a line of TOML or CSV."""
    lines = data.decode("utf-8", "replace").split("\n")
    k = rng.randrange(len(lines))
    what = rng.randrange(5)
    if what == 0:
        del lines[k]
    elif what == 1:
        lines.insert(rng.randrange(len(lines) + 1), lines[k])
    elif what == 2:
        lines[k] = re.sub(r"(?<==).*", lambda _: rng.choice((*ODD_VALUES, *ODD_TOML)), lines[k])
    elif what == 3:
        lines[k] = rng.choice((",", ";", '"', "=", "[a]", "[[a]]", "a.b.c = 1", "a" * 200_000, "\t")) + lines[k]
    else:
        lines[k] = re.sub(r"[^,]*$", lambda _: rng.choice(ODD_VALUES), lines[k])
    return "\n".join(lines).encode("utf-8", "surrogatepass")


CHANGES: tuple[Callable[[random.Random, bytes], bytes], ...] = (
    flip_bits,
    truncate,
    cut_out,
    insert,
    repeat,
    recode,
    empty,
    change_json,
    change_json,
    change_json,
    change_line,
)


@contextmanager
def damaged(rng: random.Random, file: Path, others: Sequence[Path]):
    """Damage a file, and restore it afterwards. Yields what was done.

    Args:
        rng: Decides everything.
        file: The file.
        others: Files that may stand in its place.
    """
    before = file.read_bytes()
    kind = rng.randrange(12)
    try:
        if kind == 0:
            file.unlink()
            how = rng.randrange(4)
            if how == 0:
                file.mkdir()
            elif how == 1:
                file.symlink_to(file.parent / "nothing")
            elif how == 2:
                file.symlink_to(file)
            yield ("a folder", "a dangling link", "a link to itself", "no file")[how]
        elif kind == 1:
            other = rng.choice(list(others))
            file.write_bytes(other.read_bytes())
            yield f"swapped with {other.name}"
        else:
            change = rng.choice(CHANGES)
            file.write_bytes(change(rng, before))
            yield change.__name__
    finally:
        if file.is_dir() and not file.is_symlink():
            shutil.rmtree(file)
        else:
            file.unlink(missing_ok=True)
        file.write_bytes(before)
