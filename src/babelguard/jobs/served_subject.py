"""Models behind a URL as the subject of an evaluation."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import Field

from babelguard.defences import Defence
from babelguard.defences.served import ServedModel
from babelguard.defences.written import prompt_text
from babelguard.endpoint import Client, Names, Retry
from babelguard.errors import UserError, visible
from babelguard.evaluation.judging import GENERATIONS
from babelguard.evaluation.log_rows import ReplyRow
from babelguard.evaluation.reply_length import estimated_budgets, reply_budgets
from babelguard.files import JsonlLog, Record, read_record, write_json
from babelguard.models.load import load_tokenizer
from babelguard.screen import Screen
from babelguard.targets.endpoint import Answered, Endpoint, first_request

TIMEOUT, PATIENCE = 120.0, 300.0
KEYS = ("BABELGUARD_API_KEY", "OPENAI_API_KEY")
SERVED = "served.json"


class AnsweredRecord(Record):
    """What the server said about a model when it was first asked; see `Answered`."""

    model: str | None
    system_fingerprint: str | None


class ServedRecord(Record):
    """The content of served.json: the models of an evaluation by the name that they were asked for."""

    models: dict[str, AnsweredRecord] = Field(default_factory=dict)


class ServedSubject:
    """Models behind a URL. The URL is written nowhere.

    Args:
        url: URL of the server up to and including `/v1`.
        defences: Other defences to measure; only `written` can be sent to a server.
        models: Names of the models at the server. Empty: the only model that it lists.
        tokenizer: Folder or hub id of the tokenizer of the served model, or None.
        concurrency: Number of parallel requests.
        timeout: Seconds without data before a request is considered lost.
        patience: Seconds to wait for a server that is away or too busy.
        screen: Shows what the server says about its models.

    Raises:
        UserError: If the server cannot be used, or a defence cannot be sent to it.
    """

    trained: tuple[str, ...] = ()

    def __init__(
        self,
        url: str,
        defences: Sequence[str],
        *,
        models: Sequence[str],
        tokenizer: str | None,
        concurrency: int,
        timeout: float,
        patience: float,
        screen: Screen,
    ) -> None:
        written = _checked(defences)
        self._tokenizer = None if tokenizer is None else load_tokenizer(tokenizer, screen.say)
        self._client = open_client(url, "target", timeout, patience, screen)
        self._concurrency, self._screen = concurrency, screen
        screen.title(f"Connecting to {self._client.host}")
        listed = self._client.models()
        asked = [checked_name(name) for name in dict.fromkeys(models)] or [only_model(self._client, listed)]
        self._answered = {name: first_request(self._client, name) for name in asked}
        for name, found in self._answered.items():
            screen.say(introduction(name, found, listed))
        if self._tokenizer is None:
            screen.say("The lengths of replies by language are estimated; they are exact with `tokenizer`.")
        texts = [None, prompt_text("medium")] if written else [None]
        self.defences: list[Defence] = [ServedModel(name, text) for name in asked for text in texts]
        if len({defence.name for defence in self.defences}) < len(self.defences):
            raise UserError("The name of a model is that of another model with the written prompt; remove one `model`.")
        self.name = ", ".join(asked)
        self.folder = Path("evaluations") / (re.sub(r"[^\w.-]+", "--", asked[0]).strip(".-") or "served")

    def budgets(self, languages: Iterable[str], english: int) -> dict[str, int]:
        """Maximum length of a reply in tokens, by language."""
        if self._tokenizer is None:
            return estimated_budgets(languages, english)
        return reply_budgets(self._tokenizer, languages, english)

    def facts(self, languages: Iterable[str], english: int) -> dict[str, str]:
        """What the replies depend on. The models are in served.json, because others can be added later."""
        lengths = self.budgets(languages, english)
        return {"model_fingerprint": "served", "lengths": ", ".join(f"{code} {lengths[code]}" for code in lengths)}

    def target(self, folder: Path) -> Endpoint:
        """Return the target. The folder of the results must be locked.

        Raises:
            UserError: If the replies in the folder come from another model or another version of the server.
        """
        path = folder / SERVED
        found = read_record(path, ServedRecord)
        before = {} if found is None else found.models
        answered = {name: self._same(name, now, before.get(name), folder) for name, now in self._answered.items()}
        records = {
            name: AnsweredRecord(model=one.model, system_fingerprint=one.fingerprint) for name, one in answered.items()
        }
        write_json(path, ServedRecord(models=before | records).model_dump(mode="json"))
        return Endpoint(self._client, answered, concurrency=self._concurrency, say=self._screen.say)

    def _same(self, name: str, now: Answered, before: AnsweredRecord | None, folder: Path) -> Answered:
        """Return what the keys of the replies of a model are made with."""
        if before is None:
            return now
        if before.model != now.model:
            raise UserError(
                f"The replies of '{name}' in {folder} come from a server that called it '{before.model}', and this one calls it "
                f"'{now.model}'; serve the same model, or choose another `output`."
            )
        first = before.system_fingerprint
        # Some services have several versions in use, so every fingerprint that has given a logged reply is accepted.
        logged = JsonlLog(folder / GENERATIONS, ReplyRow).rows.values()
        if now.fingerprint not in {first, *(row.get("system_fingerprint") for row in logged)}:
            raise UserError(
                f"The server of '{name}' has changed since the replies in {folder} were made (its system fingerprint was "
                f"{first} and is {now.fingerprint}); choose another `output`."
            )
        return Answered(now.model, first)


def open_client(url: str, setting: str, timeout: float, patience: float, screen: Screen) -> Client:
    """Open a server whose models are measured or talked to. `setting` is the name of the setting that has the URL."""
    names = Names("model", setting, "endpoint", KEYS)
    return Client(url, names, retry=Retry(patience=patience), timeout=timeout, say=screen.say)


def checked_name(name: str) -> str:
    """Check the name of a model, which becomes a name in tables and logs.

    Raises:
        UserError: If it is empty or contains characters that cannot be shown.
    """
    if not name.strip() or not name.isprintable():
        raise UserError(f"'{name}' is not the name of a model; set `model` to a name that the server lists.")
    return name


def only_model(client: Client, listed: Sequence[str]) -> str:
    """Return the only model that a server lists.

    Raises:
        UserError: If there are several or none.
    """
    if len(listed) == 1:
        return checked_name(listed[0])
    shown = f" serves several models ({', '.join(listed[:10])})" if listed else " does not list its models"
    raise UserError(f"The server {client.host}{shown}; set `model` to the name of one.")


def introduction(name: str, found: Answered, listed: Sequence[str]) -> str:
    """Say which model was asked for, and which model the server says that it is."""
    parts = [f"'{name}' is served"]
    if found.model not in (None, name):
        parts.append(f"as '{found.model}'")
    if found.fingerprint is not None:
        parts.append(f"(system fingerprint {found.fingerprint})")
    text = " ".join(parts) + "."
    if listed and name not in listed:
        text += f" The server lists no such model, only {', '.join(listed[:10])}; check that it is the right one."
    return visible(text)


def _checked(defences: Sequence[str]) -> bool:
    """Check the names of the defences, and tell whether `written` is among them.

    Raises:
        UserError: If one cannot be sent to a server.
    """
    for name in defences:
        if name == "none":
            raise UserError(
                "A served model is measured as it is; to compare it with an undefended model, set `model` to both names."
            )
        if name != "written":
            raise UserError(
                f"The defence '{name}' cannot be sent to a server; export the safety prompt, serve the exported model, and set "
                "`model` to its name, or use 'written'."
            )
    return "written" in defences
