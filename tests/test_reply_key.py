"""The key of a logged reply: it must change with everything that can change the reply, or a wrong reply is reused."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import planted
import pytest
import torch

from babelguard.corpus import Question
from babelguard.defences import NoDefence, SoftDefence, WrittenDefence
from babelguard.evaluation.bench import Bench
from babelguard.judges.patterns import PatternJudge
from babelguard.models.load import ChatModel
from babelguard.models.sketch import Sketch
from babelguard.prompt.slot import install
from babelguard.targets import LocalModel

QUESTION = "How to en-test-harmful-0 things ?"


@pytest.fixture(scope="module")
def chat():
    tokenizer = planted.make_tokenizer()
    model = SimpleNamespace(dtype=torch.float32)
    return ChatModel(model, tokenizer, "planted", "planted", None, None, None, sketch=Sketch({}), weights="one")


def key(chat, defence=None, question=QUESTION, tokens=24):
    return LocalModel(chat).key(defence or NoDefence(), question, tokens)


def test_the_same_reply_has_the_same_key(chat):
    assert key(chat) == key(chat)
    # Names, the revision and the batch size do not change a reply.
    assert key(replace(chat, name="other", base_id="other", revision="other", licence="other")) == key(chat)
    assert LocalModel(chat, 4).key(NoDefence(), QUESTION, 24) == key(chat)


def test_another_dtype_is_another_reply(chat):
    assert key(replace(chat, model=SimpleNamespace(dtype=torch.bfloat16))) != key(chat)


def test_another_length_is_another_reply(chat):
    assert key(chat, tokens=12) != key(chat, tokens=24)


def test_other_weights_are_another_reply(chat):
    assert key(replace(chat, weights="two")) != key(chat)


def test_another_question_is_another_reply(chat):
    assert key(chat, question="How to en-test-harmful-1 things ?") != key(chat)


def test_questions_that_a_defence_rewrites_to_the_same_chat_are_other_replies(chat):
    class Rewrite(NoDefence):
        def messages(self, question):
            return [{"role": "user", "content": "the same"}]

    # `answer` and `revise` may still depend on the original question.
    first, second = (key(chat, Rewrite(), question=f"How to en-test-harmful-{k} things ?") for k in (0, 1))
    assert first != second


def test_another_chat_template_is_another_reply(chat):
    tokenizer = planted.make_tokenizer()
    tokenizer.chat_template = tokenizer.chat_template.replace("<|start|>", "<|start|> ")
    assert key(replace(chat, tokenizer=tokenizer)) != key(chat)


def test_another_defence_is_another_reply(chat):
    carrier, slot = install(chat.tokenizer, 2, len(chat.tokenizer) + 32)
    defences = [
        NoDefence(),
        WrittenDefence.from_text("written", "Be kind.", chat.tokenizer),
        WrittenDefence.from_text("written", "Be safe.", chat.tokenizer),
        SoftDefence("mcd", torch.zeros(2, 4), slot, carrier, 0),
        SoftDefence("mcd", torch.ones(2, 4), slot, carrier, 0),
    ]
    assert len({key(chat, defence) for defence in defences}) == len(defences)
    # The name and the seed of a soft prompt do not change its replies.
    assert key(chat, SoftDefence("other", torch.ones(2, 4), slot, carrier, 1)) == key(chat, defences[-1])


def test_a_text_that_two_languages_share_is_judged_in_each(chat, tmp_path):
    bench = Bench(LocalModel(chat), PatternJudge(), tmp_path)
    keys = {bench.key(NoDefence(), Question("test", "1", "harmful", code, "PDF?"), 24) for code in ("en", "da")}
    assert len(keys) == 2
