"""Models behind an OpenAI-compatible URL as a target. Replies are asked for in parallel."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

from babelguard.defences import Defence
from babelguard.defences.served import ServedModel
from babelguard.endpoint import Client, RequestFailed, run_all
from babelguard.errors import UserError
from babelguard.judges.base import FILTERED
from babelguard.targets.base import Done, TargetReply
from babelguard.targets.served_reply import ServedReply, read_reply

CONCURRENCY = 8
# Statuses of a request that the server does not accept as it is.
_UNACCEPTABLE = (400, 413, 422)
_TOO_LONG = ("context", "too long", "too many tokens", "maximum length", "max_model_len", "exceed")
_AGAIN = "then run the same command again"


class Answered(NamedTuple):
    """What a server says about a model.

    Attributes:
        model: The name of the model in the reply, or None.
        fingerprint: The `system_fingerprint` in the reply, or None.
    """

    model: str | None
    fingerprint: str | None


class Endpoint:
    """One or several models at a server.

    Args:
        client: The server.
        answered: What the server said about each model at first; see `first_request`.
        concurrency: Number of parallel requests.
        say: Called with a sentence about something that the user should know.
    """

    def __init__(
        self,
        client: Client,
        answered: Mapping[str, Answered],
        *,
        concurrency: int = CONCURRENCY,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.client, self.answered, self.concurrency, self._say = client, answered, concurrency, say
        self._noted: set[str] = set()

    @property
    def name(self) -> str:
        """Names of the models."""
        return ", ".join(self.answered)

    def key(self, defence: Defence, question: str, tokens: int) -> str:
        """Identify a reply by the served model, the defence, the question, the maximum length and the system fingerprint.

        The URL does not matter, because the same model may be served elsewhere tomorrow.
        """
        served = _served(defence)
        fingerprint = self.answered[served.model].fingerprint or ""
        return "\x1f".join(("served", served.model, served.digest, question, str(tokens), fingerprint))

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
        """Ask for greedy replies; see `Target.replies`. Each reply is passed to `done` as soon as it arrives.

        Raises:
            UserError: If the server does not accept a question, fails or stays away, or answers with another model. Replies
                that are already on their way are passed to `done` first.
        """
        served = _served(defence)
        failed: list[Exception] = []

        def ask(k: int) -> TargetReply:
            return self._reply(served, questions[k], tokens[k])

        def handle(k: int, result: TargetReply | Exception) -> tuple[int, ...]:
            if not isinstance(result, Exception):
                done([(k, result)])
            elif not failed:
                failed.append(self._explained(result, served, names[k] if names is not None else str(k + 1)))
                self.client.close()  # no other request is sent
            return ()

        try:
            run_all([k for k in range(len(questions)) if k not in known], ask, handle, self.concurrency)
        except BaseException:
            self.client.close()
            raise
        if failed:
            raise failed[0]
        if "temperature" in self.client.dropped:
            self._note("The server does not support `temperature`, so its replies are sampled and not greedy.")

    def _reply(self, served: ServedModel, question: str, tokens: int) -> TargetReply:
        try:
            found = ask_server(self.client, served, question, tokens)
        except RequestFailed as error:
            if not error.filtered:
                raise
            return TargetReply(FILTERED, True)
        self._check(served.model, found)
        return TargetReply(found.text, found.finished, fingerprint=found.fingerprint)

    def _check(self, model: str, found: ServedReply) -> None:
        """Check that the server has not changed since its first reply."""
        first = self.answered[model]
        if None not in (first.model, found.model) and found.model != first.model:
            raise UserError(
                f"The server {self.client.host} was asked for '{model}' and has changed its model from '{first.model}' to "
                f"'{found.model}'; finished replies are kept: serve '{first.model}' again, {_AGAIN}."
            )
        if found.fingerprint != first.fingerprint:
            self._note(
                f"The system fingerprint of '{model}' has changed from {first.fingerprint} to {found.fingerprint}; the log has "
                "the fingerprint of each reply."
            )

    def _note(self, sentence: str) -> None:
        if sentence not in self._noted:
            self._noted.add(sentence)
            self._say(sentence)

    def _explained(self, error: Exception, served: ServedModel, row: str) -> Exception:
        """Turn the failure of a request into a sentence. Other errors are returned as they are."""
        host = self.client.host
        if not isinstance(error, RequestFailed):
            return error
        if error.away:
            return UserError(
                f"The server {host} did not come back in time ({error.why}); finished replies are kept: start it, {_AGAIN}."
            )
        if error.status in _UNACCEPTABLE:
            if any(words in error.why.lower() for words in _TOO_LONG):
                return UserError(
                    f"Row {row} does not fit into the context of '{served.model}' ({error.why}); shorten the row, or serve the "
                    "model with a longer context."
                )
            return UserError(
                f"The server {host} does not accept row {row} for '{served.model}' ({error.why}); remove the row, or change "
                "the settings of the server."
            )
        times = "once" if error.tries == 1 else f"{error.tries} times"
        return UserError(
            f"The server {host} failed {times} on row {row} ({error.why}); finished replies are kept: correct the server, "
            f"{_AGAIN}."
        )


def ask_server(client: Client, served: ServedModel, question: str, tokens: int) -> ServedReply:
    """Ask a served model for a greedy reply.

    Raises:
        RequestFailed: If the request gets no usable answer.
        UserError: If no request can succeed.
    """
    # A lone surrogate, which a file of prompts may contain, cannot be sent.
    messages = served.messages(question.encode("utf-8", "replace").decode("utf-8"))
    asked = {"model": served.model, "messages": messages, "temperature": 0, "max_tokens": tokens, "seed": 0}
    return client.chat(asked, read_reply)


def first_request(client: Client, model: str) -> Answered:
    """Ask for one token, to find out whether the server has the model and which model it says that it is.

    Raises:
        UserError: If the server does not answer.
    """
    try:
        found = ask_server(client, ServedModel(model), "Hello", 1)
    except RequestFailed as error:
        if error.filtered:
            return Answered(None, None)
        raise UserError(
            f"The server {client.host} does not answer a first request to '{model}' ({error.why}); check the server."
        ) from None
    return Answered(found.model, found.fingerprint)


def _served(defence: Defence) -> ServedModel:
    if not isinstance(defence, ServedModel):
        raise TypeError(f"the defence '{defence.name}' needs a local model")
    return defence
