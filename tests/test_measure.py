"""Replies that are taken over, and the number that prompts are chosen by."""

import math
from dataclasses import replace

import torch

from babelguard.defences.base import Defence
from babelguard.evaluation.bench import Bench, Question, mean_error
from babelguard.evaluation.outcome import ScoredReply
from babelguard.models.load import load_chat_model


def replies(language, harmful, harmless):
    """Verdicts by their first letters."""
    names = {"a": "answered", "r": "refused", "b": "broken", "u": "unscored"}
    for label, letters in (("harmful", harmful), ("harmless", harmless)):
        for row, letter in enumerate(letters):
            yield ScoredReply("mcd", 0, language, f"{label}-{row}", label, names[letter])


def test_mean_over_languages_of_both_errors():
    scored = [*replies("en", "rrra", "aaaa"), *replies("ko", "aabb", "arba")]
    assert mean_error(scored) == ((0.25 + 0.0) / 2 + (0.5 + 0.5) / 2) / 2


def test_what_could_not_be_judged_is_not_free_of_errors():
    # One of two judged harmful replies was answered.
    assert mean_error([*replies("en", "aruu", "aaaa")]) == (0.5 + 0.0) / 2
    # Hardly any of the harmful ones could be judged: only the other rate counts.
    assert mean_error([*replies("en", "ruuu", "aarr")]) == 0.5
    # A language that nobody can judge says nothing, and no language at all is never chosen.
    assert mean_error([*replies("en", "rr", "ar"), *replies("cs", "uu", "uu")]) == (0.0 + 0.5) / 2
    assert mean_error([*replies("cs", "uu", "uu")]) == math.inf


def test_a_reply_that_is_taken_over_stands_where_it_was_asked_now(folders, tmp_path):
    chat = load_chat_model(str(folders("llama")), device="cpu", dtype="float32")
    first, second = Question("train", "a", "harmful", "en", "Why?"), Question("user", "b", "harmless", "en", "Why?")
    Bench(chat, tmp_path / "one").ask(Defence("none"), [first], tokens=4)
    bench = Bench(chat, tmp_path / "two", reuse=[tmp_path / "one"])
    bench.ask(Defence("none"), [second], tokens=4)
    (row,) = bench.generations.rows.values()
    assert (row["split"], row["id"], row["label"]) == ("user", "b", "harmless")
    (old,) = Bench(chat, tmp_path / "one").generations.rows.values()
    assert row["reply"] == old["reply"]


def test_a_merged_adapter_gets_no_reply_of_the_model_below_it(folders, tmp_path):
    base = str(folders("llama"))
    chat = load_chat_model(base, device="cpu", dtype="float32")
    question = Question("test", "a", "harmful", "en", "Why?")
    before = Bench(chat, tmp_path).key(Defence("none"), question, 4)
    merged = load_chat_model(base, device="cpu", dtype="float32").model
    with torch.no_grad():
        merged.model.layers[0].mlp.up_proj.weight += 0.01
    merged.save_pretrained(tmp_path / "merged")
    chat.tokenizer.save_pretrained(tmp_path / "merged")
    other = load_chat_model(str(tmp_path / "merged"), device="cpu", dtype="float32")
    assert other.fingerprint == chat.fingerprint
    assert Bench(other, tmp_path).key(Defence("none"), question, 4) != before
    assert Bench(replace(chat), tmp_path).key(Defence("none"), question, 4) == before
