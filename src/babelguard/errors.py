"""Errors that a user can mend. The command line prints them as one sentence and exits with code 2."""


class UserError(Exception):
    """One sentence: what is wrong, where, and what to do about it."""


def cannot_write(path: object, error: BaseException) -> str:
    """The sentence for a full disk or a folder that cannot be written."""
    what = getattr(error, "strerror", None) or " ".join(str(error).split())
    return (
        f"{path} could not be written ({what}); nothing that was done is lost: free some space or choose another "
        "--output, and give the same command again."
    )


class NothingToAlign(UserError):
    """The model refuses nothing, or everything, so there is no refusal behaviour that a prompt could call up."""
