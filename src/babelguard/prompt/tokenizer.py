"""A tokenizer that checks that the soft prompt is in every chat it renders."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from babelguard.errors import UserError
from babelguard.prompt.preamble import UNDEFENDED, UNREADABLE, lenient, limited
from babelguard.prompt.saving import saved_beside

LOST = (
    "The rendered chat does not contain the safety prompt exactly once, so the model would be undefended; use the chat "
    "template of the protected tokenizer without truncation, or pass allow_undefended=True."
)


class DefendedTokenizer:
    """Mixed into the class of a tokenizer; see `defended`.

    Attributes:
        babelguard_tokens: The placeholder strings, in order.
        babelguard_ids: Their token ids.
        babelguard_protects: Whether it belongs to a model whose prompt exists only in memory.
    """

    babelguard_tokens: tuple[str, ...] = ()
    babelguard_ids: tuple[int, ...] = ()
    babelguard_protects = False

    def apply_chat_template(
        self,
        conversation: Any,
        tools: Any = None,
        documents: Any = None,
        chat_template: str | None = None,
        *given: Any,
        allow_undefended: bool = False,
        **named: Any,
    ) -> Any:
        """Render chats; see transformers.

        Args:
            conversation: The chat, or a list of chats.
            tools: See transformers.
            documents: See transformers.
            chat_template: See transformers.
            given: See transformers.
            allow_undefended: Return a chat even if it does not contain the safety prompt.
            named: See transformers.

        Raises:
            UserError: If a chat does not contain the safety prompt exactly once.
        """
        if not self.babelguard_tokens:  # `from_pretrained` of this class; only the template inserts a prompt
            return super().apply_chat_template(conversation, tools, documents, chat_template, *given, **named)  # type: ignore[misc]
        # transformers looks for the last message in the rendered chat if it is to be continued, so placeholders in the
        # messages are broken up here already.
        chats = self._broken(list(conversation) if isinstance(conversation, Iterator) else conversation)
        template = self.get_chat_template(chat_template, tools)  # type: ignore[attr-defined]
        if allow_undefended:
            template = lenient(template)
        # The model's template may refuse a chat only because looking for a place changed it. The last of these does not
        # change it, so its error is the right one.
        for text in dict.fromkeys((template, limited(template, "user"), limited(template))):
            try:
                rendered = super().apply_chat_template(chats, tools, documents, text, *given, **named)  # type: ignore[misc]
                break
            except Exception as error:  # a template is a program and can raise any error
                for sentence in (UNDEFENDED, UNREADABLE):
                    if sentence in str(error):
                        raise UserError(sentence) from error
                failed = error
        else:
            raise failed
        if not allow_undefended:
            self.check_prompt(rendered)
        return rendered

    def check_prompt(self, rendered: Any) -> None:
        """Check that every rendered chat contains the soft prompt once and in order.

        Args:
            rendered: A text, token ids, or the result of a tokenizer, each of one chat or of several.

        Raises:
            UserError: If one does not.
        """
        content = rendered["input_ids"] if isinstance(rendered, Mapping) or hasattr(rendered, "input_ids") else rendered
        rows = content.tolist() if hasattr(content, "tolist") else content
        if isinstance(rows, str) or not (rows and isinstance(rows[0], (str, Sequence))):
            rows = [rows]
        for row in rows:
            if isinstance(row, str):
                whole = row.count("".join(self.babelguard_tokens)) == 1
                fine = whole and all(row.count(token) == 1 for token in self.babelguard_tokens)
            else:
                fine = tuple(int(i) for i in row if int(i) in set(self.babelguard_ids)) == self.babelguard_ids
            if not fine:
                raise UserError(LOST)

    def _encode_plus(self, text: Any = None, text_pair: Any = None, *given: Any, **named: Any) -> Any:
        """Tokenise texts; placeholders outside the first complete prompt of a chat are ordinary text.

        All ways of tokenising lead here, except `tokenize` of a tokenizer in Python.
        """
        batch = isinstance(text, (list, tuple))
        if batch and text and named.get("is_split_into_words"):
            batch = not isinstance(text[0], str)
        if not batch:
            text, text_pair = self._once((text, text_pair))
        else:
            pairs = text_pair if isinstance(text_pair, (list, tuple)) else ()
            chats = [self._once(chat) for chat in zip_longest(text, pairs)]
            text = [one for one, _ in chats[: len(text)]]
            text_pair = [other for _, other in chats[: len(pairs)]] if pairs else text_pair
        return super()._encode_plus(text, text_pair, *given, **named)  # type: ignore[misc]

    def tokenize(self, text: Any, pair: Any = None, *given: Any, **named: Any) -> Any:
        """Split a text into tokens; placeholders outside the first complete prompt are ordinary text."""
        text, pair = self._once((text, pair))
        # Tokenizers in Python have no argument for a second text.
        second = () if pair is None and not given else (pair,)
        return super().tokenize(text, *second, *given, **named)  # type: ignore[misc]

    def save_pretrained(self, save_directory: str | os.PathLike[str], *given: Any, **named: Any) -> Any:
        """Save the tokenizer. That of a protected model is only saved beside this model.

        Raises:
            UserError: If it belongs to a protected model that is not saved in this folder.
        """
        if self.babelguard_protects and not saved_beside(self, Path(save_directory)):
            raise UserError(
                "This tokenizer belongs to a model that is protected by a safety prompt, and other models do not know its "
                "placeholders; save the protected model, whose save_pretrained also writes this tokenizer."
            )
        return super().save_pretrained(save_directory, *given, **named)  # type: ignore[misc]

    def _broken(self, value: Any) -> Any:
        """Break up the placeholders in all strings of a value."""
        if isinstance(value, str):
            for token in self.babelguard_tokens:
                if token in value:
                    value = value.replace(token, f"{token[0]} {token[1:]}")
            return value
        if isinstance(value, Mapping):
            return {self._broken(key): self._broken(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._broken(item) for item in value]
        if callable(getattr(value, "model_dump", None)):
            return self._broken(value.model_dump())
        if is_dataclass(value) and not isinstance(value, type):
            return {field.name: self._broken(getattr(value, field.name)) for field in fields(value)}
        return value

    def _once(self, value: Any, seen: list[str] | None = None) -> Any:
        """Break up the placeholders in the texts of one chat, except its first complete prompt, which a template wrote.

        Args:
            value: A text, or nested lists of texts. Everything else is returned as it is.
            seen: The complete prompt after it was found.
        """
        seen = [] if seen is None else seen
        if isinstance(value, (list, tuple)):
            items = [self._once(item, seen) for item in value]
            return tuple(items) if isinstance(value, tuple) else items
        if not isinstance(value, str) or not self.babelguard_tokens:
            return value
        soft = "".join(self.babelguard_tokens)
        if seen or soft not in value:
            return self._broken(value)
        seen.append(soft)
        head, whole, tail = value.partition(soft)
        return f"{self._broken(head)}{whole}{self._broken(tail)}"

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickle by the tokenizer's own class, because the class that `defended` makes has no address."""
        reduced: Any = super().__reduce_ex__(protocol)
        return (_empty, (type(self).__mro__[2],), *reduced[2:])


def defended(tokenizer: Any, tokens: tuple[str, ...], ids: tuple[int, ...]) -> Any:
    """Let a tokenizer check its chats. It is changed, and keeps the name of its class in saved files."""
    tokenizer.__class__ = _class_of(type(tokenizer))
    tokenizer.babelguard_tokens, tokenizer.babelguard_ids = tokens, ids
    return tokenizer


def _class_of(base: type) -> type:
    return type(base.__name__, (DefendedTokenizer, base), {"__module__": base.__module__, "__doc__": base.__doc__})


def _empty(base: type) -> Any:
    return object.__new__(_class_of(base))
