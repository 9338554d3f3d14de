"""Decode text files: UTF-8 with or without a byte order mark, and UTF-16 with one."""

from __future__ import annotations

import codecs
from pathlib import Path

from babelguard.corpus.header import mistake
from babelguard.corpus.text import LINE_END
from babelguard.errors import UserError

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
        return path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"There is no file {path}; check the name.") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder; give the files in it one by one.") from None
    except (OSError, ValueError) as error:
        raise UserError(f"The file {path} cannot be read ({getattr(error, 'strerror', None) or error}).") from None


def read_text(path: Path) -> str:
    """Read a text file.

    Raises:
        UserError: If it cannot be read, is empty, or is not UTF-8 or UTF-16.
    """
    data = read_bytes(path)
    for start, what in _OTHER_FORMATS.items():
        if data.startswith(start):
            raise UserError(f"The file {path} is {what}.")
    text = _decode(path, data).lstrip("\ufeff")  # files that were joined may have several
    if "\0" in text:
        line = _line(text[: text.index("\0")])
        raise mistake(
            path, line, "there is a NUL character, as in binary or damaged files; save the file as UTF-8 text"
        )
    if not text.strip():
        raise UserError(f"The file {path} is empty; write one row per prompt.")
    return text


def _decode(path: Path, data: bytes) -> str:
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) and not data.startswith(codecs.BOM_UTF32_LE)
    encoding = "utf-16" if wide else "utf-8"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = _line(data[: error.start].decode(encoding, "replace"))
        what = f"byte {error.start} of the file is not {encoding.upper()}; save it as UTF-8"
        raise mistake(path, line, what) from None


def _line(before: str) -> int:
    return len(LINE_END.findall(before)) + 1
