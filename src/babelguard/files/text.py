"""Read the bytes and the text of a file."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

from babelguard.errors import UserError, damaged

# Not str.splitlines, which also splits at characters that a prompt may contain, such as U+2028.
LINE_END = re.compile(r"\r\n|\n|\r")


class FileFault(UserError):
    """A file cannot be read.

    Attributes:
        path: The file.
        why: What is wrong with it, such as `line 3 is not valid JSON`.
        missing: Whether the file does not exist.
        folder: Whether it is a folder.
        unreadable: Whether the operating system did not allow to read it.
        line: The line of the mistake, if the file has lines.
    """

    def __init__(
        self,
        path: Path,
        why: str,
        *,
        missing: bool = False,
        folder: bool = False,
        unreadable: bool = False,
        line: int | None = None,
    ) -> None:
        self.path, self.why, self.missing, self.folder, self.line = path, why, missing, folder, line
        self.unreadable = unreadable or missing or folder
        if missing:
            sentence = f"There is no file {path}; check the name."
        elif folder:
            sentence = f"{path} is a folder; give a file."
        else:
            sentence = f"The file {path} cannot be read ({why}); restore it, or give another file."
        super().__init__(sentence)

    def in_run(self, advice: str | None = None) -> UserError:
        """Create the error for a file that babelguard wrote.

        Args:
            advice: What to do if the file is damaged; default: delete it.
        """
        if self.unreadable and not self.folder:
            return UserError(
                f"{self.path} cannot be read ({self.why}); make it readable, then run the same command again."
            )
        return UserError(damaged(self.path, self.why, advice))


def read_bytes(path: Path) -> bytes:
    """Read a file.

    Raises:
        FileFault: If it does not exist, is a folder, or cannot be read.
    """
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileFault(path, "the file does not exist", missing=True) from error
    except IsADirectoryError as error:
        raise FileFault(path, "Is a directory", folder=True) from error
    except (OSError, ValueError) as error:  # ValueError: a name with a NUL character or a lone surrogate
        raise FileFault(path, getattr(error, "strerror", None) or str(error), unreadable=True) from error


def decode(path: Path, data: bytes, *, wide: bool = False) -> str:
    """Decode text in UTF-8, without its byte-order marks.

    Args:
        path: The file, for messages.
        data: Its bytes.
        wide: Whether UTF-16 with a byte-order mark is accepted, too.

    Raises:
        FileFault: If it is in another encoding, or contains a NUL character.
    """
    marks = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    in_utf16 = wide and data.startswith(marks) and not data.startswith(codecs.BOM_UTF32_LE)
    encoding = "utf-16" if in_utf16 else "utf-8"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = line_after(data[: error.start].decode(encoding, "replace"))
        what = f"byte {error.start} of the file is not {encoding.upper()}; save it as UTF-8"
        raise FileFault(path, what, line=line) from None
    if "\0" in text:
        line = line_after(text[: text.index("\0")])
        what = "there is a NUL character, as in binary or damaged files; save the file as UTF-8 text"
        raise FileFault(path, what, line=line)
    return text.lstrip("\ufeff")  # files that were joined may have several


def read_text(path: Path) -> str:
    """Read a UTF-8 text file.

    Raises:
        FileFault: See `read_bytes` and `decode`.
    """
    return decode(path, read_bytes(path))


def line_after(before: str) -> int:
    """Return the number of the line that begins or goes on after a text."""
    return len(LINE_END.findall(before)) + 1
