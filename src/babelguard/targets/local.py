"""A local model as a target: replies and hidden states through the shared-prefix engine."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from babelguard import engine, parallel
from babelguard.defences import Defence
from babelguard.errors import UserError, out_of_memory
from babelguard.files import Record, read_record, write_json
from babelguard.judges.thoughts import begins_in_thought
from babelguard.models.checks import chat_template_of, check_token_ids
from babelguard.models.load import ChatModel
from babelguard.prompt.template import fixed_clock, reads_clock
from babelguard.targets.base import Done, TargetReply
from babelguard.targets.shares import Rules, batch_of_replies, share_of_states

BATCH_SIZE = 64


class BatchSize(Record):
    """The content of batch_size.json."""

    batch_size: int = Field(ge=1)


class RenderedChats(NamedTuple):
    """Chats split into the tokens that all of them begin with, and the rest of each."""

    prefix_ids: list[int]
    suffixes: list[list[int]]


class LocalModel:
    """A model in this process.

    Args:
        chat: The model and its tokenizer.
        batch_size: Replies generated together. Halved when memory runs out.
        batch_size_file: A JSON file in which a halved batch size is stored for the next start, or None.

    Raises:
        UserError: If the file is damaged.
    """

    def __init__(self, chat: ChatModel, batch_size: int | None = None, batch_size_file: Path | None = None) -> None:
        self.chat, self.batch_size_file = chat, batch_size_file
        self.batch_size = batch_size or BATCH_SIZE
        remembered = None if batch_size_file is None else read_record(batch_size_file, BatchSize)
        if remembered is not None:
            self.batch_size = min(self.batch_size, remembered.batch_size)

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.chat.name

    def key(self, defence: Defence, question: str, tokens: int) -> str:
        """Identify a reply by the weights, the dtype, the defence, the rendered chat, the question and the maximum length.

        The chat is rendered with a fixed date, so that a reply of yesterday is found again.
        """
        chat = self.chat
        with fixed_clock():
            text = defence.text(chat.tokenizer, question)
        parts = (
            chat.weights,
            str(chat.model.dtype),
            defence.digest,
            text,
            question,  # `answer` and `revise` may depend on the original text
            tokens,
        )
        return "\x1f".join(map(str, parts))

    def render(
        self,
        defence: Defence,
        texts: Sequence[str],
        *,
        names: Sequence[str] | None = None,
        reply_tokens: Sequence[int] | None = None,
    ) -> RenderedChats:
        """Render chats under a defence and find their shared prefix.

        Args:
            defence: The defence.
            texts: The questions.
            names: Name of each question in messages.
            reply_tokens: Tokens to leave for the reply to each question.

        Raises:
            UserError: If a chat does not fit into the model's context, or contains a token that the model lacks.
        """
        chats = [defence.token_ids(self.chat.tokenizer, text) for text in texts]
        # The placeholders of a soft prompt may be beyond the embedding table.
        check_token_ids(self.chat.model, self.chat.tokenizer, chats, self.chat.name, defence.banned_ids)
        left = reply_tokens or [0] * len(chats)
        longest = max(range(len(chats)), key=lambda k: len(chats[k]) + left[k])
        if len(chats[longest]) + left[longest] > self.chat.context:
            name = names[longest] if names is not None else str(longest + 1)
            if left[longest] > len(chats[longest]):
                raise UserError(
                    f"A reply of up to {left[longest]} tokens to row {name}, which is {len(chats[longest])} tokens long with its "
                    f"prompt, does not fit into the model's context of {self.chat.context} tokens; allow shorter replies."
                )
            raise UserError(
                f"Row {name} is {len(chats[longest])} tokens long with its prompt and does not fit into the model's context of "
                f"{self.chat.context} tokens; shorten the row or the prompt."
            )
        prefix_ids = engine.shared_prefix(chats)
        return RenderedChats(prefix_ids, engine.split(chats, prefix_ids))

    def states(self, defence: Defence, texts: Sequence[str], *, names: Sequence[str] | None = None) -> Tensor:
        """Return the hidden state after the final norm at the last token of each chat, [texts, d], float32, on the CPU.

        Raises:
            UserError: If a chat does not fit into the model's context.
        """
        return self.states_at_layers(defence, texts, (), names=names)[0]

    def states_at_layers(
        self, defence: Defence, texts: Sequence[str], layers: Sequence[int], *, names: Sequence[str] | None = None
    ) -> Tensor:
        """Return the hidden states at the last token of each chat: after the final norm, then after each of the given layers.

        Args:
            defence: The defence.
            texts: The questions.
            layers: Numbers of layers, counted from 1.
            names: Name of each question in messages.

        Returns:
            States [1 + layers, texts, d], float32, on the CPU.

        Raises:
            UserError: If a chat does not fit into the model's context.
        """
        return self.states_of(defence, self.render(defence, texts, names=names), layers)

    def states_of(self, defence: Defence, chats: RenderedChats, layers: Sequence[int]) -> Tensor:
        """Return the hidden states of rendered chats; see `states_at_layers`."""
        shares = parallel.lead(share_of_states, self.chat.model, defence, *chats, layers)
        return torch.cat([share.cpu() for share in shares], dim=1)

    def replies(
        self,
        defence: Defence,
        questions: Sequence[str],
        *,
        tokens: Sequence[int],
        done: Done,
        known: Collection[int] = (),
        names: Sequence[str] | None = None,
    ) -> None:
        """Generate greedy replies; see `Target.replies`."""
        answers = [defence.answer(question) for question in questions]
        given = [(k, TargetReply(text, True)) for k, text in enumerate(answers) if text is not None and k not in known]
        if given:
            done(given)
        asked = [k for k, text in enumerate(answers) if text is None]
        if not asked:
            return
        chat = self.chat
        asked_names = None if names is None else [names[k] for k in asked]
        longest = [tokens[k] for k in asked]
        chats = self.render(defence, [questions[k] for k in asked], names=asked_names, reply_tokens=longest)
        finished = {place for place, k in enumerate(asked) if k in known}
        date = str(datetime.date.today()) if reads_clock(chat_template_of(chat.tokenizer)) else None

        def log(batch: list[tuple[int, engine.Reply]]) -> None:
            finished.update(place for place, _ in batch)
            replies = []
            for place, reply in batch:
                question = questions[asked[place]]
                text = chat.tokenizer.decode(reply.token_ids, skip_special_tokens=True)
                # If the template opens a thought, the reply is inside it.
                opened = begins_in_thought(defence.text(chat.tokenizer, question)[-40:])
                replies.append(
                    (asked[place], TargetReply(defence.revise(question, opened + text), reply.finished, date))
                )
            done(replies)

        while True:
            try:
                self._generate(defence, chats, longest, Rules(chat.stop_ids, defence.banned_ids), finished, log)
                return
            except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
                if not out_of_memory(error):
                    raise
                self._halve(error)

    def _generate(
        self,
        defence: Defence,
        chats: RenderedChats,
        tokens: Sequence[int],
        rules: Rules,
        finished: Collection[int],
        log: Callable[[list[tuple[int, engine.Reply]]], None],
    ) -> None:
        """Generate the replies that are not finished. Several processes generate one batch each at a time."""
        model, size = self.chat.model, self.batch_size
        if parallel.world() == 1:
            known = {place: engine.Reply([], True) for place in finished}
            with torch.no_grad(), defence.active(model):
                prefix = engine.run_prefix(model, chats.prefix_ids)
                given = {"max_new_tokens": tokens, "batch_size": size, **rules._asdict()}
                engine.generate(model, prefix, chats.suffixes, **given, known=known, done=log)
            return
        batches = engine.generation_batches(model, *chats, tokens, size)
        waiting = [rows for rows in batches if any(place not in finished for place in rows)]
        for start in range(0, len(waiting), parallel.world()):
            places = waiting[start : start + parallel.world()]
            suffixes = [[chats.suffixes[place] for place in rows] for rows in places]
            longest = [[tokens[place] for place in rows] for rows in places]
            found = parallel.lead(batch_of_replies, model, defence, chats.prefix_ids, suffixes, longest, rules)
            log(
                [pair for rows, replies in zip(places, found, strict=False) for pair in zip(rows, replies, strict=True)]
            )

    def _halve(self, error: BaseException) -> None:
        """Halve the batch size after running out of memory."""
        if self.batch_size == 1:
            raise UserError(
                "There is not enough memory for a single reply; choose a smaller model, `dtype` bfloat16 or another `device`."
            ) from error
        self.batch_size //= 2
        if self.batch_size_file is not None:
            write_json(self.batch_size_file, {"batch_size": self.batch_size})
