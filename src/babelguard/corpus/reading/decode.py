"""Read text files: UTF-8 with or without a byte order mark, and UTF-16 with one."""

from __future__ import annotations

from pathlib import Path

from babelguard.corpus.header import explained
from babelguard.errors import UserError
from babelguard.files import FileFault, decode
from babelguard.files import read_bytes as bytes_of

# The first bytes of files that are often given instead of text.
_OTHER_FORMATS = {
    b"PK\x03\x04": "an Excel file or a ZIP archive; save it as CSV",
    b"\xd0\xcf\x11\xe0": "an old Excel file; save it as CSV",
    b"\x1f\x8b": "compressed with gzip; unpack it first",
    b"%PDF": "a PDF; save its prompts as a text file with one prompt per line",
}


def read_bytes(path: Path) -> bytes:
    """Read a file.

    Raises:
        UserError: If it does not exist, is a folder or cannot be read.
    """
    try:
        return bytes_of(path)
    except FileFault as error:
        raise explained(error, "give the files in it one by one") from None


def read_text(path: Path) -> str:
    """Read a text file.

    Raises:
        UserError: If it cannot be read, is empty, or is not UTF-8 or UTF-16.
    """
    data = read_bytes(path)
    for start, what in _OTHER_FORMATS.items():
        if data.startswith(start):
            raise UserError(f"The file {path} is {what}.")
    try:
        text = decode(path, data, wide=True)
    except FileFault as error:
        raise explained(error, "") from None
    if not text.strip():
        raise UserError(f"The file {path} is empty; write one row per prompt.")
    return text
