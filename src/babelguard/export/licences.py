"""What licences of base models require of a copy: names, notices and statements. This is not legal advice."""

from __future__ import annotations

import re
from typing import NamedTuple

_LLAMA = re.compile(r"llama[-_ ]?(\d+(?:\.\d+)?)")


class Terms(NamedTuple):
    """What a licence requires.

    Attributes:
        prefix: What the name of the copy must begin with, or ''.
        statement: What must be shown beside the copy, or ''.
        notice: The content of the file NOTICE, or ''.
        summary: The duties in a few sentences, for the model card.
    """

    prefix: str
    statement: str
    notice: str
    summary: str


def terms_of(licence: str | None) -> Terms:
    """Return what a licence requires, by its name in hub metadata, such as llama3.1, gemma or apache-2.0."""
    name = (licence or "").lower()
    if found := _LLAMA.match(name):
        return _llama(found[1])
    if name.startswith("gemma"):
        notice = "Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms"
        return Terms(
            "",
            "",
            notice + "\n",
            f"{notice}. Whoever passes this model on must pass on its use restrictions, a copy of the terms and the file NOTICE, "
            "and say that the model was modified: a safety prompt was added.",
        )
    if name == "apache-2.0":
        return Terms(
            "",
            "",
            "",
            "Whoever passes this model on must pass on the licence and the notices of the base model, and say that the model was "
            "modified: a safety prompt was added.",
        )
    known = (
        f"The licence of the base model ({licence})"
        if licence
        else "The licence of the base model is not known here. It"
    )
    return Terms("", "", "", f"{known} also applies to this export; read it before you pass the model on.")


def _llama(version: str) -> Terms:
    major = int(version.partition(".")[0])
    kind = f"Llama {version}" if major > 2 else f"LLAMA {version}"
    notice = (
        f"Llama {version} is licensed under the {kind} Community License, Copyright (c) Meta Platforms, Inc. All Rights "
        "Reserved.\n"
    )
    if major < 3:
        return Terms(
            "",
            "",
            notice,
            f"{notice.strip()} Whoever passes this model on must pass on the licence and the file NOTICE.",
        )
    return Terms(
        "Llama",
        "Built with Llama",
        notice,
        f'{notice.strip()} Whoever passes this model on must pass on the licence and the file NOTICE, show "Built with Llama", '
        'and give the model a name that begins with "Llama".',
    )
