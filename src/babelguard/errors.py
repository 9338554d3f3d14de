"""Errors that the user can fix. The command line prints them as one sentence and exits with code 2.

Messages write setting names in backticks, such as `output`. The command line replaces them with its options.
"""

import errno


class UserError(Exception):
    """An error the user can fix. The message is one sentence: what is wrong, where, and what to do about it.

    Args:
        sentence: The message. Names and contents of files in it may contain line ends and control characters, which are
            replaced with their code points.
    """

    def __init__(self, sentence: str) -> None:
        super().__init__(visible(sentence))


class Note(UserWarning):
    """Something that the user should know, in one sentence. The command line prints it without stopping."""


class NothingToAlign(UserError):
    """The model refuses (nearly) nothing or (nearly) everything, so it has no refusal behaviour to train on."""


def cannot_write(path: object, error: BaseException) -> str:
    """Message for a full disk or a folder that cannot be written."""
    what = getattr(error, "strerror", None) or " ".join(str(error).split())
    return (
        f"{path} could not be written ({what}); finished work is kept: free some space or choose another "
        "`output`, then run the same command again."
    )


def damaged(path: object, why: str, advice: str | None = None) -> str:
    """Message for a file of a run that cannot be read, for example after a power cut.

    Args:
        path: The file.
        why: What is wrong with it, in one clause.
        advice: What to do; default: delete it.
    """
    return f"{path} is damaged ({why}); {advice or 'delete it, then run the same command again to recreate it'}."


def out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out, on any device."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in text or "can't allocate memory" in text


def explain_system_error(error: BaseException) -> str | None:
    """Message for an error raised by the operating system or by running out of memory; None for any other error."""
    if out_of_memory(error):
        return (
            "There is not enough memory; choose a smaller model, `dtype` bfloat16, another `device` or, if this happened "
            "during training, a smaller `training.batch_size`."
        )
    if isinstance(error, RuntimeError) and "home directory" in str(error):
        return f"The home directory cannot be found ({error}); write the path in full."
    if isinstance(error, RuntimeError) and "Symlink loop" in str(error):
        return f"There is a link to itself ({error}); remove it."
    if not isinstance(error, OSError):
        return None
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "The disk is full; finished work is kept: free some space, then run the same command again."
    if error.filename is not None:
        return f"{error.filename} cannot be used ({error.strerror or error}); check its name and permissions."
    if error.errno == errno.EFBIG:
        return (
            "A file would be larger than this system allows; finished work is kept: raise the limit (ulimit -f), then run the "
            "same command again."
        )
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return "Too many files are open; finished work is kept: raise the limit (ulimit -n), then run the same command again."
    what = " ".join((error.strerror or str(error)).split()).rstrip(".") or type(error).__name__
    return f"The operating system reports an error ({what}); finished work is kept: mend it, then run the same command again."


def visible(text: str, keep: str = "") -> str:
    """Replace characters that a terminal would interpret or hide with their code points."""
    return "".join(char if char.isprintable() or char in keep else f"\\u{ord(char):04x}" for char in text)


def short(text: str) -> str:
    """Make a reason of a text of another program: one line of at most 200 characters."""
    return " ".join(text.split())[:200]
