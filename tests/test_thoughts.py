"""Thoughts are removed before a reply is judged; a reply that is only a thought is unscored."""

from __future__ import annotations

import json

import pytest
import tiny
from calls import succeed

from babelguard.corpus import Question
from babelguard.defences import NoDefence
from babelguard.evaluation.bench import Bench
from babelguard.judges.patterns import PatternJudge
from babelguard.judges.thoughts import begins_in_thought, visible_reply
from babelguard.targets.base import TargetReply

REFUSING = "I can't help with hurting people, but this is about computing."


@pytest.mark.parametrize(
    ("reply", "visible"),
    [
        (f"<think>\n{REFUSING}\n</think>\n\nUse the task manager.", "Use the task manager."),
        (f"{REFUSING}</think>Use the task manager.", "Use the task manager."),
        ("<THINK>Let me see.</THINK> I cannot help with that.", "I cannot help with that."),
        ("[THINK]hm[/THINK]No.", "No."),
        ("<think>one</think>First. <think>two</think>Second.", "First. Second."),
        ("Answer first. <think>then a thought", "Answer first. <think>then a thought"),
        ("[THINK]I cannot. Straße[/THINK]Sure", "Sure"),
        ("<|START_THINKING|>Das ist groß.<|END_THINKING|>Ja.", "Ja."),
        ("<think>a</think>I can't help.</think>", "I can't help."),
        ("Here is how to do it.</think>", "Here is how to do it."),
        ("[Think] Plan the day first. [Do] then act", "[Think] Plan the day first. [Do] then act"),
        ("Use the `<thinking>` tag to structure prompts.", "Use the `<thinking>` tag to structure prompts."),
        ("analysis. The word assistantfinal occurs", "analysis. The word assistantfinal occurs"),
        ("<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Bake it.", "Bake it."),
        ("analysisThe user asks about bread.assistantfinalBake it.", "Bake it."),
        ("No thought at all.", "No thought at all."),
        ("Analysis of the poem: it rhymes.", "Analysis of the poem: it rhymes."),
        ("analysis of the poem: it rhymes.", "analysis of the poem: it rhymes."),
        ("", ""),
    ],
)
def test_only_what_a_user_sees_is_left(reply, visible):
    assert visible_reply(reply) == (visible, False)


@pytest.mark.parametrize(
    "reply",
    ["<think>I can't help with", "<think>done</think>", "<think></think>\n", "<|channel|>analysis<|message|>The user"],
)
def test_a_reply_that_is_only_a_thought_says_so(reply):
    assert visible_reply(reply) == ("", True)


def test_a_template_that_opens_a_thought_is_recognised():
    assert begins_in_thought("<|im_start|>assistant\n<think>\n") == "<think>"
    assert begins_in_thought("<|im_start|>assistant\n<think>\n\n</think>\n\n") == ""
    assert begins_in_thought("<|im_start|>assistant\n") == ""


class Target:
    """A target that gives the replies of a test."""

    name = "scripted"

    def __init__(self, replies):
        self.given = replies

    def key(self, defence, question, tokens):
        return question

    def replies(self, defence, questions, *, tokens, done, known=(), names=None):
        done([(k, TargetReply(self.given[question], True)) for k, question in enumerate(questions) if k not in known])


def test_thoughts_are_not_judged(tmp_path):
    replies = {
        "a": f"<think>{REFUSING}</think>Use the task manager to stop it.",
        "b": f"<think>{'Let me think about it. ' * 40}</think>I'm sorry, but I can't help with that.",
        "c": f"<think>{REFUSING}",
    }
    questions = [Question("test", name, "harmless", "en", name) for name in replies]
    bench = Bench(Target(replies), PatternJudge(), tmp_path)
    scored = bench.ask(NoDefence(), questions, tokens={"en": 24})
    assert [str(reply.verdict) for reply in scored] == ["answered", "refused", "unscored"]
    assert scored[2].foreign is None
    assert "only a thought" in (tmp_path / "verdicts.patterns.jsonl").read_text()
    # The log keeps the complete reply.
    assert all(row["reply"].startswith("<think>") for row in bench.generations.rows.values())


def test_a_model_whose_template_opens_a_thought_is_named_in_the_plan_and_not_judged(tmp_path, files):
    switch = (
        "{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\n\n</think>\n\n' }}{%- endif %}"
    )
    template = tiny.QWEN3.replace(switch, "{{- '<think>\n' }}")
    assert template != tiny.QWEN3
    model = tiny.save_family("qwen3", tmp_path / "model")
    tiny.make_tokenizer(tiny.FAMILIES["qwen3"], template).save_pretrained(model)
    given = [
        "--corpus",
        files / "corpus.csv",
        "--languages",
        "en,da",
        "--preset",
        "written",
        "--judge",
        "patterns",
        "--output",
        tmp_path / "run",
    ]
    shown = succeed("defend", model, *given, "--device", "cpu", "--dtype", "float32", "--dry-run")
    assert "this model thinks before it answers" in " ".join(shown.split())
    options = ["--device", "cpu", "--dtype", "float32", "--reply-tokens", 4, "--output", tmp_path / "out"]
    options += ["--judge", "patterns"]
    succeed("evaluate", model, "--prompts", files / "corpus.csv", *options)
    lines = (tmp_path / "out" / "generations.jsonl").read_text().splitlines()
    assert lines
    assert all(json.loads(line)["reply"].startswith("<think>") for line in lines)
    verdicts = (tmp_path / "out" / "verdicts.patterns.jsonl").read_text().splitlines()
    assert {json.loads(line)["verdict"] for line in verdicts} == {"unscored"}


def test_many_thoughts() -> None:
    assert visible_reply("<think></think>" * 5000 + "Paris.").text == "Paris."
    assert visible_reply("<think>" + "x</think>" * 5000 + "Paris.").text == "Paris."
