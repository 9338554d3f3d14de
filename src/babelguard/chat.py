"""Talk to a defended model in the terminal, and see the difference that the defence makes."""

from __future__ import annotations

from typing import Any

import torch

from babelguard.errors import UserError
from babelguard.screen import Screen
from babelguard.slot import SEPARATOR, Messages, find_placement, render, tokenise
from babelguard.target import open_target

HELP = "/defence off|on   /compare (both replies to your last words, or to the words after it)   /reset   /quit"


class Conversation:
    """A chat whose defence can be switched. The history is shared by both sides.

    Args:
        model: The protected model.
        carrier: The tokenizer whose template carries the prompt.
        plain: The model's own tokenizer.
        system: The user's own system message.
        tokens: Longest reply.
    """

    def __init__(self, model: Any, carrier: Any, plain: Any, system: str | None, tokens: int) -> None:
        self.model, self.carrier, self.plain = model, carrier, plain
        self.tokens, self.defended = tokens, True
        self.system = system or None
        self.placement, _ = find_placement(plain)
        self.messages: Messages = []

    def reply(self, messages: Messages, *, defended: bool) -> str:
        """The greedy reply to a history, with or without the defence."""
        tokenizer = self.carrier if defended else self.plain
        self.model.babelguard_hook.enabled = defended
        ids = tokenise(tokenizer, render(tokenizer, self.opened(messages, defended=defended)))
        tensor = torch.tensor([ids], device=self.model.device)
        out = self.model.generate(
            tensor,
            attention_mask=torch.ones_like(tensor),
            max_new_tokens=self.tokens,
            do_sample=False,
            pad_token_id=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id,
        )
        return str(tokenizer.decode(out[0, len(ids) :], skip_special_tokens=True)).strip()

    def opened(self, messages: Messages, *, defended: bool) -> Messages:
        """The history behind the user's own system message, in a form that the template takes."""
        if self.system is None:
            return messages
        if defended or self.placement != "user":
            return [{"role": "system", "content": self.system}, *messages]
        # The plain template has no system role; the defended one puts the text at this very place by itself.
        first = messages[0]
        return [first | {"content": self.system + SEPARATOR + first["content"]}, *messages[1:]]

    def compare(self, messages: Messages) -> tuple[str, str]:
        """(reply without, reply with the defence) to the same words."""
        return self.reply(messages, defended=False), self.reply(messages, defended=True)

    def handle(self, line: str, screen: Screen) -> bool:
        """One line of the user's; False ends the chat."""
        command, _, rest = line.strip().partition(" ")
        if not line.strip():
            return True
        if command in ("/quit", "/exit"):
            return False
        if command == "/reset":
            self.messages = []
            screen.say("  a new conversation")
        elif command in ("/defence", "/defense"):
            if rest.strip() not in ("on", "off"):
                screen.say("  say /defence on or /defence off")
            else:
                self.defended = rest.strip() == "on"
                screen.say(f"  the defence is {rest.strip()}")
        elif command == "/compare":
            users = [k for k, m in enumerate(self.messages) if m["role"] == "user"]
            if rest.strip():
                history = [*self.messages, {"role": "user", "content": rest.strip()}]
            elif users:
                history = self.messages[: users[-1] + 1]
            else:
                screen.say("  say something first, or give the words: /compare WORDS")
                return True
            without, with_ = self.compare(history)
            screen.say(f"  without  {without}")
            screen.say(f"  with     {with_}")
        elif command.startswith("/"):
            screen.say(f"  {HELP}")
        else:
            self.messages.append({"role": "user", "content": line.strip()})
            answer = self.reply(self.messages, defended=self.defended)
            self.messages.append({"role": "assistant", "content": answer})
            screen.say(f"{'' if self.defended else '(defence off) '}{answer}")
        return True


def chat(
    run: str,
    *,
    model: str | None,
    system: str | None,
    tokens: int,
    device: str,
    dtype: str,
    trust_remote_code: bool,
    screen: Screen,
) -> None:
    """Open the run's model and prompt and talk until /quit or the end of the input.

    Raises:
        UserError: where the run has no prompt, or its model cannot be loaded.
    """
    opened = open_target(
        run, model=model, device=device, dtype=dtype, trust_remote_code=trust_remote_code, say=screen.say
    )
    if opened.prompt is None:
        raise UserError(
            f"{run} is no run and no safety prompt, so there is no defence to talk to; run babelguard defend first."
        )
    plain = opened.chat.tokenizer
    protected, carrier = opened.prompt.protect(opened.chat.model, plain)
    talk = Conversation(protected, carrier, plain, system, tokens)
    screen.say(f"{opened.chat.name} with {opened.prompt.name}. {HELP}")
    while True:
        try:
            line = input("> ")
        except EOFError:
            return
        if not talk.handle(line, screen):
            return
