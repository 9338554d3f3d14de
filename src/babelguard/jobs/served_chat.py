"""Chat with a model behind a URL in the terminal. Replies are shown as they arrive."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from babelguard.endpoint import Client, RequestFailed
from babelguard.jobs.read_lines import read_lines
from babelguard.jobs.served_subject import TIMEOUT, checked_name, introduction, only_model, open_client
from babelguard.prompt.placement import Messages
from babelguard.screen import Screen
from babelguard.targets.endpoint import first_request
from babelguard.targets.served_reply import text_of, thought_of

HELP = "/reset   /quit"
# Commands of a chat with a local model that a server does not offer.
_LOCAL = ("/defence", "/defense", "/compare")


class Part(NamedTuple):
    """A part of a streamed reply.

    Attributes:
        text: Its text.
        thought: Whether it is part of a thought.
        finish: Why the reply has ended, if it has.
    """

    text: str = ""
    thought: bool = False
    finish: str | None = None


class ServedConversation:
    """A chat with a served model.

    Args:
        client: The server.
        model: Name of the model.
        system: The user's own system message, or None.
        tokens: Maximum length of a reply.
    """

    def __init__(self, client: Client, model: str, system: str | None, tokens: int) -> None:
        self.client, self.model, self.tokens = client, model, tokens
        self.start: Messages = [{"role": "system", "content": system}] if system else []
        self.messages: Messages = []
        self.ended = ""

    def pieces(self) -> Iterator[str]:
        """Yield the parts of the reply to the history. Thoughts that the server separates are left out.

        Raises:
            RequestFailed: If the server does not answer.
        """
        asked = {"model": self.model, "messages": [*self.start, *self.messages], "max_tokens": self.tokens}
        thought, ended = False, "no reply; the server does not stream chat completions"
        for part in self.client.stream(asked | {"temperature": 0, "seed": 0}, _read_part):
            thought = thought or part.thought
            if part.finish == "content_filter":
                ended = "refused by the content filter of the server"
            elif part.text:
                ended = ""
            elif part.finish and ended:
                ended = "only a thought; allow longer replies with `tokens`" if thought else "an empty reply"
            yield part.text
        self.ended = ended

    def handle(self, line: str, screen: Screen) -> bool:
        """Process one line of input. Returns False if the chat should end."""
        command = line.strip().partition(" ")[0]
        if not command:
            return True
        if command in ("/quit", "/exit"):
            return False
        if command == "/reset":
            self.messages = []
            screen.say("  new conversation")
        elif command in _LOCAL:
            screen.say("  A served model cannot be changed here; chat with another `model` of the server to compare.")
        elif command.startswith("/"):
            screen.say(f"  {HELP}")
        else:
            self._answer(line.strip(), screen)
        return True

    def _answer(self, text: str, screen: Screen) -> None:
        self.messages.append({"role": "user", "content": text})
        try:
            said = screen.stream(self.pieces())
        except RequestFailed as error:
            self.messages.pop()
            screen.say(f"  The server {self.client.host} failed ({error.why}); send your message again.")
            return
        if self.ended:
            screen.say(f"  ({self.ended})")
        self.messages.append({"role": "assistant", "content": said})


def _read_part(response: Any) -> Part:
    if not response.choices:  # at the end, some servers report how many tokens were used
        return Part()
    choice = response.choices[0]
    return Part(text_of(choice.delta.content), bool(thought_of(choice.delta)), choice.finish_reason)


def chat_served(url: str, *, model: str | None, system: str | None, tokens: int, screen: Screen) -> None:
    """Chat with a served model until /quit or the end of the input.

    Args:
        url: URL of the server up to and including `/v1`.
        model: Name of the model at the server. None: the only model that it lists.
        system: The user's own system message.
        tokens: Maximum length of a reply.
        screen: Shows the replies.

    Raises:
        UserError: If the server cannot be used.
    """
    client = open_client(url, "run", TIMEOUT, 0.0, screen)
    listed = client.models()
    name = only_model(client, listed) if model is None else checked_name(model)
    screen.say(f"{introduction(name, first_request(client, name), listed)} {HELP}")
    read_lines(ServedConversation(client, name, system, tokens).handle, screen)
