"""Read the lines that a user types in a chat."""

from __future__ import annotations

from collections.abc import Callable

from babelguard.screen import Screen


def read_lines(handle: Callable[[str, Screen], bool], screen: Screen) -> None:
    """Read lines until the end of the input.

    Args:
        handle: Processes a line. Returns False if the chat should end.
        screen: Shows the replies.
    """
    while True:
        try:
            line = input("> ")
        except EOFError:
            return
        except UnicodeDecodeError:
            screen.say("  This is not UTF-8; check the settings of your terminal.")
            continue
        # In some locales, bytes that are not UTF-8 become lone surrogates.
        if not handle(line.encode("utf-8", "replace").decode("utf-8"), screen):
            return
