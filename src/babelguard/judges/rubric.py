"""The judge `rubric`: any chat model that follows a written rubric."""

from __future__ import annotations

from babelguard.judges.base import Exchange, Judgement
from babelguard.judges.guards.asking import Form, Message, Request
from babelguard.judges.guards.base import TextGuard
from babelguard.judges.guards.policy import POLICY, describe, read_opinion


class RubricJudge(TextGuard):
    """Asks a chat model to classify the exchange by a written rubric.

    The rubric is babelguard's own; see `guards.policy`. It defines all verdicts, so this judge tells a refusal from support
    and a full answer from a partial one. The answer is a JSON object with the verdict and whether the reply is harmful.

    Any chat model can be used, at an OpenAI-compatible endpoint or with transformers. There is no default, because the
    quality of the judgements is that of the model, and a model should not judge its own replies. All languages are
    accepted: whether the model understands them is for the user to check, for example on replies that people have judged.
    """

    name = "rubric"
    default_model = ""
    languages = None
    # Reasoning models think before they answer.
    form = Form(max_tokens=2048)
    template = POLICY

    def requests(self, exchange: Exchange) -> list[Request]:
        """See `Guard.requests`."""
        return [(Message("system", POLICY), Message("user", describe(exchange)))]

    def read_text(self, exchange: Exchange, text: str) -> Judgement:
        """See `TextGuard.read_text`."""
        return read_opinion(text)
