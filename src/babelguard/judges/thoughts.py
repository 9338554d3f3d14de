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
    ("[THINK]", "[/THINK]"),  # Magistral
    ("<|start_thinking|>", "<|end_thinking|>"),  # Command A reasoning
    ("<seed:think>", "</seed:think>"),  # Seed OSS
    ("<|begin_of_thought|>", "<|end_of_thought|>"),  # Sky T1
    ("◁think▷", "◁/think▷"),  # Kimi VL
)
# gpt-oss writes thoughts to the channel `analysis`, with its marks or, if they were skipped in decoding, without.
_ANALYSIS = re.compile(r"\s*(?:<\|channel\|>analysis<\|message\|>|analysis(?=[A-Z]))")
_CAPITALS = re.compile(r"[A-Z]+")
_INK = re.compile(r"\S")
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
    """Remove thoughts from a reply. A thought that begins the reply and does not end extends to its end."""
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
    ending = rendered.rstrip().lower()
    return next((begin for begin, _ in MARKS if ending.endswith(begin.lower())), "")


def _without(text: str, begin: str, end: str) -> tuple[str, bool]:
    """Remove the text between two marks, and tell whether there was any."""
    # Only ASCII letters are folded, so that positions stay the same. Magistral's marks are matched exactly, because
    # "[Think]" also occurs in ordinary text.
    folded = text if begin.startswith("[") else _CAPITALS.sub(lambda found: found[0].lower(), text)
    kept: list[str] = []
    place, thought, next_begin = 0, False, folded.find(begin)
    while (next_end := folded.find(end, place)) >= 0:
        after = next_end + len(end)
        if 0 <= next_begin < next_end:
            kept.append(text[place:next_begin])
        elif not _INK.search(text, after):
            # The template opened the thought, so the reply only closes it. If nothing follows, the mark is a mistake.
            return "".join([*kept, text[place:next_end]]), thought
        thought, place = True, after
        if 0 <= next_begin < place:
            next_begin = folded.find(begin, place)
    # A thought without an end: only if the reply begins with it. Elsewhere, the mark may be a quotation.
    if next_begin >= 0 and not text[place:next_begin].strip():
        return "".join(kept), True
    return "".join([*kept, text[place:]]), thought
