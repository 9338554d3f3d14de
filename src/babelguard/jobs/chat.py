"""Chat with a defended model in the terminal, and compare it with the undefended model."""

from __future__ import annotations

from typing import Any

import torch

from babelguard.config.load import check_text
from babelguard.endpoint.address import is_url
from babelguard.errors import UserError
from babelguard.jobs.open_target import open_target
from babelguard.jobs.read_lines import read_lines
from babelguard.jobs.served_chat import chat_served
from babelguard.prompt.placement import Messages, find_placement
from babelguard.prompt.preamble import SEPARATOR
from babelguard.prompt.slot import render, tokenise
from babelguard.screen import Screen

HELP = "/defence off|on   /compare [TEXT] (both replies, to TEXT or to your last message)   /reset   /quit"


class Conversation:
    """A chat whose defence can be switched on and off. Both share one history.

    Args:
        model: The protected model.
        carrier: The tokenizer whose chat template inserts the prompt.
        plain: The model's own tokenizer.
        system: The user's own system message.
        tokens: Maximum length of a reply.
    """

    def __init__(self, model: Any, carrier: Any, plain: Any, system: str | None, tokens: int) -> None:
        self.model, self.carrier, self.plain = model, carrier, plain
        self.tokens, self.defended = tokens, True
        self.system = system or None
        self.placement, _ = find_placement(plain)
        self.messages: Messages = []

    def reply(self, messages: Messages, *, defended: bool) -> str:
        """Return the greedy reply to a history, with or without the defence."""
        tokenizer = self.carrier if defended else self.plain
        self.model.babelguard_hook.enabled = defended
        ids = tokenise(tokenizer, render(tokenizer, self.with_system(messages, defended=defended)))
        tensor = torch.tensor([ids], device=self.model.device)
        out = self.model.generate(
            tensor,
            attention_mask=torch.ones_like(tensor),
            max_new_tokens=self.tokens,
            do_sample=False,
            pad_token_id=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id,
        )
        return str(tokenizer.decode(out[0, len(ids) :], skip_special_tokens=True)).strip()

    def with_system(self, messages: Messages, *, defended: bool) -> Messages:
        """Put the user's own system message in front of the history, in a form that the template accepts."""
        if self.system is None:
            return messages
        if defended or self.placement != "user":
            return [{"role": "system", "content": self.system}, *messages]
        # The plain template has no system role. The defended template puts the text at the same position.
        first = messages[0]
        return [first | {"content": self.system + SEPARATOR + first["content"]}, *messages[1:]]

    def compare(self, messages: Messages) -> tuple[str, str]:
        """Return the replies to the same messages without and with the defence."""
        return self.reply(messages, defended=False), self.reply(messages, defended=True)

    def handle(self, line: str, screen: Screen) -> bool:
        """Process one line of input. Returns False if the chat should end."""
        command, _, rest = line.strip().partition(" ")
        if not line.strip():
            return True
        if command in ("/quit", "/exit"):
            return False
        if command == "/reset":
            self.messages = []
            screen.say("  new conversation")
        elif command in ("/defence", "/defense"):
            if rest.strip() not in ("on", "off"):
                screen.say("  use /defence on or /defence off")
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
                screen.say("  write a message first, or use /compare TEXT")
                return True
            without, with_ = self.compare(history)
            screen.reply(f"  without  {without}")
            screen.reply(f"  with     {with_}")
        elif command.startswith("/"):
            screen.say(f"  {HELP}")
        else:
            self.messages.append({"role": "user", "content": line.strip()})
            answer = self.reply(self.messages, defended=self.defended)
            self.messages.append({"role": "assistant", "content": answer})
            screen.reply(f"{'' if self.defended else '(defence off) '}{answer}")
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
    """Chat with the model and prompt of a run, or with a served model, until /quit or the end of the input.

    Args:
        run: A run folder, a safety prompt's folder or hub id, or the URL of an OpenAI-compatible server.
        model: The base model, if it is not at the location recorded in the run. With a URL: the name of the served model.
        system: The user's own system message.
        tokens: Maximum length of a reply.
        device: See `babelguard.models.devices.choose_device`.
        dtype: See `babelguard.models.devices.choose_dtype`.
        trust_remote_code: Allow model code from the hub to run.
        screen: Shows the replies.

    Raises:
        UserError: If there is no safety prompt, or its model cannot be loaded.
    """
    check_text("system", system)
    if is_url(run):
        chat_served(run, model=model, system=system, tokens=tokens, screen=screen)
        return
    opened = open_target(
        run, model=model, device=device, dtype=dtype, trust_remote_code=trust_remote_code, say=screen.say
    )
    if opened.prompt is None:
        raise UserError(f"{run} is neither a run nor a safety prompt; train a safety prompt and give its run folder.")
    plain = opened.chat.tokenizer
    protected, carrier = opened.prompt.protect(opened.chat.model, plain, say=lambda _: None)  # said when it was opened
    talk = Conversation(protected, carrier, plain, system, tokens)
    screen.say(f"{opened.chat.name} with {opened.prompt.name}. {HELP}")
    read_lines(talk.handle, screen)
