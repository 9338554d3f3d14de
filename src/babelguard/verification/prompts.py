"""The chats that are rendered and answered to verify an export."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from babelguard.corpus import load_corpus
from babelguard.errors import UserError
from babelguard.languages import display_name
from babelguard.prompt.placement import TOOL, Messages

SYSTEM = "You are the assistant of a library. Be brief."
ENGLISH = "en"


@dataclass(frozen=True)
class Chat:
    """A chat.

    Attributes:
        language: Code of the language of the question.
        kind: What is special about it, for messages.
        messages: The messages; the last one is from the user.
        tools: Descriptions of tools, or None.
    """

    language: str
    kind: str
    messages: Messages
    tools: tuple[dict[str, Any], ...] | None = None

    @property
    def title(self) -> str:
        """Name of the chat in messages."""
        return f"{display_name(self.language)}, {self.kind}"

    @property
    def settings(self) -> dict[str, Any]:
        """Further arguments of `apply_chat_template`."""
        return {"tools": list(self.tools)} if self.tools else {}


def harmless_questions(languages: tuple[str, ...] | None = None) -> dict[str, str]:
    """Return a harmless question in every language of the built-in corpus.

    Args:
        languages: Codes of the languages to use. None uses all.

    Raises:
        UserError: If the corpus does not have a language.
    """
    corpus = load_corpus().split("test")
    row = next(row for row in corpus.rows if row.label == "harmless")
    wanted = tuple(row.texts) if languages is None else languages
    if unknown := [code for code in wanted if code not in row.texts]:
        raise UserError(f"The built-in corpus has no language '{unknown[0]}'; use {', '.join(row.texts)}.")
    return {code: row.texts[code] for code in wanted}


def make_chats(questions: Mapping[str, str], with_tools: bool) -> tuple[Chat, ...]:
    """Return the chats: every question without and with a system message, and two turns and tools in one language.

    Args:
        questions: Code of the language -> question.
        with_tools: Whether the chat template writes the descriptions of tools.
    """
    system = {"role": "system", "content": SYSTEM}
    found = []
    for code, question in questions.items():
        ask = {"role": "user", "content": question}
        found += [Chat(code, "one question", [ask]), Chat(code, "system message", [system, ask])]
    first = ENGLISH if ENGLISH in questions else next(iter(questions))
    ask = {"role": "user", "content": questions[first]}
    answer = {"role": "assistant", "content": "That depends on you."}
    more = {"role": "user", "content": "Thank you. And if it rains?"}
    found.append(Chat(first, "two turns", [system, ask, answer, more]))
    if with_tools:
        found.append(Chat(first, "tools", [ask], (TOOL,)))
    return tuple(found)


def writes_tools(tokenizer: Any) -> bool:
    """Return whether the chat template of a tokenizer writes the descriptions of tools."""
    asked = [{"role": "user", "content": "How is the weather?"}]
    try:
        text = str(tokenizer.apply_chat_template(asked, tools=[TOOL], tokenize=False, add_generation_prompt=True))
    except Exception:  # a template is a program and can raise any error
        return False
    return str(TOOL["function"]["description"]) in text  # type: ignore[index]
