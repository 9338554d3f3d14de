"""Errors that a user can mend. The command line prints them as one sentence and exits with code 2."""

import errno


class UserError(Exception):
    """One sentence: what is wrong, where, and what to do about it."""


def cannot_write(path: object, error: BaseException) -> str:
    """The sentence for a full disk or a folder that cannot be written."""
    what = getattr(error, "strerror", None) or " ".join(str(error).split())
    return (
        f"{path} could not be written ({what}); nothing that was done is lost: free some space or choose another "
        "--output, and give the same command again."
    )


def damaged(path: object) -> str:
    """The sentence for a file of a run that cannot be read, as a power cut leaves it."""
    return f"{path} is damaged; delete that file, and the same command will make it again."


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on whatever device."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in text or "can't allocate memory" in text


def sentence_of(error: BaseException) -> str | None:
    """What to tell the user of an error that comes from the machine rather than from babelguard; None for any other."""
    if out_of_memory(error):
        return (
            "The memory does not suffice; choose a smaller model, --dtype bfloat16, another --device or, where it happened "
            "in training, fewer rows a step (train_batch in a --config file)."
        )
    if isinstance(error, RuntimeError) and "home directory" in str(error):
        return f"There is no such user's home ({error}); write the path in full."
    if not isinstance(error, OSError):
        return None
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "The disk is full; nothing that was done is lost: free some space and give the same command again."
    if error.filename is not None:
        return f"{error.filename} cannot be used ({error.strerror or error}); check the name and its permissions."
    return None


def visible(text: str, keep: str = "") -> str:
    """Text with every character that a terminal would obey or hide written as its code."""
    return "".join(char if char.isprintable() or char in keep else f"\\u{ord(char):04x}" for char in text)


class NothingToAlign(UserError):
    """The model refuses nothing, or everything, so there is no refusal behaviour that a prompt could call up."""
