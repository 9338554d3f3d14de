"""The logs of replies: which replies of other runs are copied, and which are not."""

from __future__ import annotations

from dataclasses import replace

import torch

from babelguard.corpus import Question
from babelguard.defences import NoDefence
from babelguard.evaluation.bench import Bench
from babelguard.judges.patterns import PatternJudge
from babelguard.models.load import load_chat_model
from babelguard.targets import LocalModel


def make_bench(chat, folder, **given):
    return Bench(LocalModel(chat), PatternJudge(), folder, **given)


def test_a_copied_reply_has_the_names_of_the_new_question(folders, tmp_path):
    chat = load_chat_model(str(folders("llama")), device="cpu", dtype="float32")
    first, second = Question("train", "a", "harmful", "en", "Why?"), Question("user", "b", "harmless", "en", "Why?")
    make_bench(chat, tmp_path / "one").ask(NoDefence(), [first], tokens=4)
    bench = make_bench(chat, tmp_path / "two", reuse=[tmp_path / "one"])
    bench.ask(NoDefence(), [second], tokens=4)
    (row,) = bench.generations.rows.values()
    assert (row["split"], row["id"], row["label"]) == ("user", "b", "harmless")
    (old,) = make_bench(chat, tmp_path / "one").generations.rows.values()
    assert row["reply"] == old["reply"]


def test_replies_of_the_base_model_are_not_copied_for_a_merged_adapter(folders, tmp_path):
    base = str(folders("llama"))
    chat = load_chat_model(base, device="cpu", dtype="float32")
    question = Question("test", "a", "harmful", "en", "Why?")
    before = make_bench(chat, tmp_path).key(NoDefence(), question, 4)
    merged = load_chat_model(base, device="cpu", dtype="float32").model
    with torch.no_grad():
        merged.model.layers[0].mlp.up_proj.weight += 0.01
    merged.save_pretrained(tmp_path / "merged")
    chat.tokenizer.save_pretrained(tmp_path / "merged")
    other = load_chat_model(str(tmp_path / "merged"), device="cpu", dtype="float32")
    assert other.fingerprint == chat.fingerprint
    assert make_bench(other, tmp_path).key(NoDefence(), question, 4) != before
    assert make_bench(replace(chat), tmp_path).key(NoDefence(), question, 4) == before
