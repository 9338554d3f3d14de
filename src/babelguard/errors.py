"""Errors that a user can mend. The command line prints them as one sentence and exits with code 2."""


class UserError(Exception):
    """One sentence: what is wrong, where, and what to do about it."""


class NothingToAlign(UserError):
    """The model refuses nothing, or everything, so there is no refusal behaviour that a prompt could call up."""
