"""The judge `gpt-oss-safeguard`: gpt-oss-safeguard with a policy of babelguard."""

from __future__ import annotations

import re

from babelguard.judges.base import Exchange, Judgement
from babelguard.judges.guards.asking import Form, Message, Request
from babelguard.judges.guards.base import TextGuard, unscored
from babelguard.judges.guards.policy import POLICY, describe, read_opinion

_MARKER = re.compile(r"<\|(?:channel|message|start|end|return|call)\|>")
_FINAL = re.compile(
    r"<\|channel\|>final(?: <\|constrain\|>json)?<\|message\|>(.*?)(?:<\|(?:return|end)\|>)?\s*", re.DOTALL
)


class GptOssSafeguard(TextGuard):
    """Asks gpt-oss-safeguard to classify the exchange under babelguard's own policy.

    The policy is the system message and the exchange the user message, as in OpenAI's user guide for gpt-oss-safeguard.
    The answer is a JSON object with the verdict and whether the reply is harmful; see `policy`. The model thinks first, in
    the harmony format. Only the final channel is read: endpoints separate it, and with transformers it follows its marker.

    The maker documents no list of supported languages. The languages here are those in which its model card reports
    results, the 14 of MMMLU and English, and these results are about chat and not about classification.
    """

    name = "gpt-oss-safeguard"
    default_model = "openai/gpt-oss-safeguard-20b"
    languages = frozenset(["ar", "bn", "de", "en", "es", "fr", "hi", "id", "it", "ja", "ko", "pt", "sw", "yo", "zh"])
    form = Form(max_tokens=2048, markers=True)
    template = POLICY

    def requests(self, exchange: Exchange) -> list[Request]:
        """See `Guard.requests`."""
        return [(Message("system", POLICY), Message("user", describe(exchange)))]

    def read_text(self, exchange: Exchange, text: str) -> Judgement:
        """See `TextGuard.read_text`."""
        if not _MARKER.search(text):
            return read_opinion(text)
        at = text.rfind("<|channel|>final")
        final = _FINAL.fullmatch(text, at) if at >= 0 else None
        if final is None or text.count("<|channel|>final") > 1:
            return unscored("the answer does not end with one final channel")
        return read_opinion(final[1])
