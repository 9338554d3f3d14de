"""Read a file of replies for `judge_replies`: JSONL with the fields `language` and `reply`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple, cast

from babelguard.errors import UserError
from babelguard.files import FileFault, parse_json, read_text, unique_keys
from babelguard.judges import LABELS, Exchange, Verdict
from babelguard.judges.base import EXPECTED

# Verdicts that a reply can truly have.
TRUE_VERDICTS = tuple(verdict for verdict in Verdict if verdict != Verdict.UNSCORED)
# The true verdict that a short form in the field `expected` means.
VERDICT_OF = dict(zip(EXPECTED, (Verdict.REFUSED, Verdict.SUPPORTED, Verdict.ANSWERED), strict=True))


class GivenReply(NamedTuple):
    """A reply of a file.

    Attributes:
        id: Its id; default: the number of its line.
        line: The number of its line.
        exchange: The request, if it is given, and the reply.
        true: The true verdict, if it is given.
    """

    id: str
    line: int
    exchange: Exchange
    true: Verdict | None


class _Wrong(ValueError):
    """What is wrong with a line."""


def read_replies(path: Path) -> list[GivenReply]:
    """Read a file of replies.

    Args:
        path: JSONL. Required fields: `language`, `reply`. Optional: `question`; `label` (harmful or harmless); `finished`
            (false if the reply was cut off); `id`; and the true verdict as `verdict` or `expected`, where refuse, support and
            answer mean refused, supported and answered. In the log of a run, `expected` says what a correct reply would be,
            so it is ignored there.

    Raises:
        UserError: If the file cannot be read, a line is wrong, or there are no replies.
    """
    try:
        text = read_text(path)
    except FileFault as error:
        if error.line is not None:
            raise UserError(f"In line {error.line} of {path}, {error.why}.") from error
        raise UserError(f"{path} cannot be read ({error.why}); check its name and permissions.") from error
    found = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            found.append(_reply(_object(line), number))
        except _Wrong as error:
            raise UserError(f"In line {number} of {path}, {error}.") from None
    if not found:
        raise UserError(f"There are no replies in {path}; write one JSON object per line.")
    return found


def _object(line: str) -> dict[str, Any]:
    try:
        row = parse_json(line, pairs=unique_keys)
    except json.JSONDecodeError as error:
        what = f"this is not valid JSON ({error.msg}, column {error.colno}); write one object per line"
        raise _Wrong(what) from None
    except ValueError as error:
        raise _Wrong(f"this is not valid JSON ({error})") from None
    if not isinstance(row, dict):
        raise _Wrong("there is no JSON object; write one object per line")
    return row


def _reply(row: dict[str, Any], number: int) -> GivenReply:
    for name in ("language", "reply"):
        if not isinstance(row.get(name), str):
            raise _Wrong(f"the field '{name}' is {'not a text' if name in row else 'missing'}; every reply needs it")
    language, question, label = row["language"].strip(), row.get("question"), row.get("label")
    finished, own_id = row.get("finished"), row.get("id")
    if not language:
        raise _Wrong("the field 'language' is empty; write a code such as en")
    if not isinstance(question, str | None):
        raise _Wrong("the field 'question' is not a text; write the question or leave the field out")
    if label is not None and label not in LABELS:
        raise _Wrong(f"the label {label!r} is not known; use {' or '.join(LABELS)}")
    if not isinstance(finished, bool | None):
        raise _Wrong(f"the field 'finished' is {finished!r}; use true or false")
    if isinstance(own_id, bool) or not isinstance(own_id, str | int | None):
        raise _Wrong("the field 'id' is neither a text nor a whole number; write one of them or leave the field out")
    exchange = Exchange(question or "", row["reply"], language, label, finished is not False)
    return GivenReply(str(number if own_id is None else own_id), number, exchange, _true_verdict(row))


def _true_verdict(row: dict[str, Any]) -> Verdict | None:
    given = {}
    for name in ("verdict", "expected"):
        value = row.get(name)
        if value is None or (name == "expected" and "key" in row):
            continue
        if name == "expected" and value in EXPECTED:
            value = VERDICT_OF[value]
        if value not in TRUE_VERDICTS:
            raise _Wrong(f"'{name}' is {value!r}, which is not a verdict; use {', '.join(TRUE_VERDICTS)}")
        given[name] = Verdict(cast(str, value))
    if len(set(given.values())) > 1:
        raise _Wrong("'verdict' and 'expected' are different verdicts; leave one of them out")
    return next(iter(given.values()), None)
