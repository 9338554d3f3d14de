"""Remove the thoughts of reasoning models from replies, so that judges only see what a user would see."""

from __future__ import annotations

import re
from typing import NamedTuple

# Marks around a thought, by the models that write them.
MARKS = (
    ("<think>", "</think>"),  # DeepSeek R1, Qwen 3, SmolLM 3, Phi 4 reasoning
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("[think]", "[/think]"),  # Magistral
    ("<|start_thinking|>", "<|end_thinking|>"),  # Command A reasoning
    ("<seed:think>", "</seed:think>"),  # Seed OSS
    ("<|begin_of_thought|>", "<|end_of_thought|>"),  # Sky T1
    ("◁think▷", "◁/think▷"),  # Kimi VL
)
# gpt-oss writes thoughts to the channel `analysis`, with its marks or, if they were skipped in decoding, without.
_ANALYSIS = re.compile(r"\s*(?:<\|channel\|>analysis<\|message\|>|analysis(?=[A-Z\W]))")
_FINAL = re.compile(r"<\|channel\|>final<\|message\|>|assistantfinal")
_HARMONY_END = re.compile(r"<\|(?:end|return|start|call)\|>")


class VisibleReply(NamedTuple):
    """What is left of a reply without thoughts.

    Attributes:
        text: The text a user would see.
        only_thought: Whether the reply has a thought and nothing else.
    """

    text: str
    only_thought: bool


def visible_reply(reply: str) -> VisibleReply:
    """Remove thoughts from a reply. A thought that does not end extends to the end of the reply."""
    text, thought = reply, False
    if _ANALYSIS.match(text):
        final = list(_FINAL.finditer(text))
        text, thought = text[final[-1].end() :] if final else "", bool(final) or "<|channel|>" in text
        if not thought:  # an ordinary reply that begins with the word "analysis"
            text = reply
        text = _HARMONY_END.sub(" ", text)
    for begin, end in MARKS:
        text, found = _without(text, begin, end)
        thought = thought or found
    text = text.strip() if thought else text
    return VisibleReply(text, thought and not text)


def begins_in_thought(rendered: str) -> str:
    """Return the mark of an open thought at the end of a rendered chat, or '' if there is none."""
    ending = rendered.rstrip().casefold()
    return next((begin for begin, _ in MARKS if ending.endswith(begin)), "")


def _without(text: str, begin: str, end: str) -> tuple[str, bool]:
    """Remove the text between two marks, and tell whether there was any."""
    folded = text.casefold()
    if len(folded) != len(text):  # case folding changed positions, so only exact marks are found
        folded = text
    first_begin, first_end = folded.find(begin), folded.find(end)
    if first_end >= 0 and not 0 <= first_begin < first_end:
        # The template opened the thought, so the reply only closes it.
        rest, _ = _without(text[first_end + len(end) :], begin, end)
        return rest, True
    if first_begin < 0:
        return text, False
    if first_end < 0:
        return text[:first_begin], True
    rest, _ = _without(text[first_end + len(end) :], begin, end)
    return text[:first_begin] + rest, True
