"""Tiny MADLAD-400 and NLLB-200 models: random weights, real classes and tokenizers."""

from __future__ import annotations

import pytest
import torch
from calls import fail, succeed
from transformers import (
    M2M100Config,
    M2M100ForConditionalGeneration,
    NllbTokenizer,
    T5Config,
    T5ForConditionalGeneration,
    T5Tokenizer,
)
from translator import read_lines, write_rows

from babelguard.corpus.translation.base import EngineFailed
from babelguard.corpus.translation.transformers_engine import TransformersEngine
from babelguard.errors import UserError

LETTERS = [chr(code) for code in range(33, 127)] + list("가나다라마바사아")
GIVEN = {"device": "cpu", "dtype": "float32"}


@pytest.fixture(scope="module")
def madlad(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "madlad400-tiny"
    specials = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    codes = [(f"<2{code}>", 0.0) for code in ("en", "ko", "da", "iw")]
    vocab = [*specials, *codes, *((letter, -3.0) for letter in LETTERS)]
    tokenizer = T5Tokenizer(vocab=vocab, extra_ids=0, additional_special_tokens=None)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=len(tokenizer), d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=2, decoder_start_token_id=0
    )
    T5ForConditionalGeneration(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def nllb(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "nllb-200-tiny"
    vocab = {token: k for k, token in enumerate(["<s>", "<pad>", "</s>", "<unk>", "▁", *LETTERS])}
    codes = ["eng_Latn", "kor_Hang", "dan_Latn"]
    tokenizer = NllbTokenizer(vocab=vocab, merges=[], extra_special_tokens=codes)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
    config = M2M100Config(
        vocab_size=len(tokenizer),
        d_model=32,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        decoder_start_token_id=2,
        max_position_embeddings=256,
        **sizes,
    )
    M2M100ForConditionalGeneration(config).save_pretrained(folder)
    return folder


def spy(engine, monkeypatch, ids):
    """Make the model return `ids`, and record its inputs."""
    engine._weights = engine._load()
    seen = {}

    def generate(**given):
        seen.update(given)
        return torch.tensor([ids] * len(given["input_ids"]))

    monkeypatch.setattr(engine._weights, "generate", generate)
    return seen


def test_madlad_gets_the_language_as_a_prefix(madlad, monkeypatch):
    engine = TransformersEngine(str(madlad), **GIVEN)
    assert (engine.licence, engine.notices, engine.model) == ("Apache-2.0 (MADLAD-400)", (), "madlad400-tiny")
    tokens = engine._tokenizer.convert_tokens_to_ids
    seen = spy(engine, monkeypatch, [0, *tokens(["가", "나"]), 1])
    made = engine.translate(["Hi there", "Hello\nyou"], "en", "ko")
    assert [(one.text, one.status) for one in made] == [("가나", "ok")] * 2
    assert tokens("<2ko>") in seen["input_ids"][0, :2] and "forced_bos_token_id" not in seen
    assert engine._tokenizer.decode(seen["input_ids"][1], skip_special_tokens=True).endswith("Hello you")
    engine.translate(["가"], "ko", "en")
    assert tokens("<2en>") in seen["input_ids"][0, :2]
    engine.translate(["Hi"], "en", "he")  # with its older code
    assert tokens("<2iw>") in seen["input_ids"][0, :2]


def test_nllb_gets_both_languages(nllb, monkeypatch):
    engine = TransformersEngine(str(nllb), **GIVEN)
    assert engine.licence == "CC-BY-NC-4.0 (NLLB-200)" and "commercially" in engine.notices[0]
    tokens = engine._tokenizer.convert_tokens_to_ids
    seen = spy(engine, monkeypatch, [2, tokens("kor_Hang"), tokens("가"), 2])
    assert engine.translate(["Hi"], "en", "ko")[0].text == "가"
    assert seen["forced_bos_token_id"] == tokens("kor_Hang")
    assert seen["input_ids"][0, 0] == tokens("eng_Latn")
    engine.translate(["가"], "ko", "en")
    assert seen["forced_bos_token_id"] == tokens("eng_Latn")
    assert seen["input_ids"][0, 0] == tokens("kor_Hang")


@pytest.mark.parametrize("name", ["madlad", "nllb"])
def test_batching_does_not_change_the_output(name, request):
    folder = request.getfixturevalue(name)
    engine = TransformersEngine(str(folder), **GIVEN)
    texts = ["Hi", "How do I bake a loaf of bread?"]
    together = engine.translate(texts, "en", "ko")
    alone = [engine.translate([text], "en", "ko")[0] for text in texts]
    # Random weights never produce an end token. The output limit depends on the longest text of the batch.
    assert [one.text[:40] for one in together] == [one.text[:40] for one in alone]
    assert all(len(one.text) > 40 for one in alone)
    assert {one.status for one in together} <= {"cut", "empty"}


def test_output_without_an_end_token_is_cut(madlad, monkeypatch):
    engine = TransformersEngine(str(madlad), **GIVEN)
    spy(engine, monkeypatch, [0, *engine._tokenizer.convert_tokens_to_ids(["가", "나", "가", "나"])])
    assert engine.translate(["Hi"], "en", "ko")[0].status == "cut"


def test_running_out_of_memory_halves_the_batch(madlad, monkeypatch):
    engine = TransformersEngine(str(madlad), batch=8, **GIVEN)
    engine._weights = engine._load()

    def full(**_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(engine._weights, "generate", full)
    with pytest.raises(EngineFailed, match="memory") as caught:
        engine.translate(["Hi"] * 8, "en", "ko")
    assert engine.batch == 4 and not caught.value.lost


def test_unsupported_languages(madlad, nllb):
    for folder in (madlad, nllb):
        with pytest.raises(UserError, match="does not support Thai"):
            TransformersEngine(str(folder), **GIVEN).check(["ko", "en", "th"])


def test_the_licence_is_shown_first_and_written_to_every_row(nllb, tmp_path, monkeypatch):
    path = write_rows(tmp_path / "mine.jsonl")
    call = ["corpus", "translate", path, "--to", "da", "--engine", "transformers", "--engine-model", nllb]
    call += ["--output", tmp_path / "out", "--device", "cpu", "--dtype", "float32"]
    said = succeed(*call, "--dry-run")
    assert "may not be used commercially" in said and not (tmp_path / "out").exists()

    def translate(self, texts, source, target):
        from translator import translated

        from babelguard.corpus.translation.base import Translation

        return [Translation(translated(text, "Danish")) for text in texts]

    monkeypatch.setattr(TransformersEngine, "translate", translate)
    said = succeed(*call)
    assert said.index("may not be used commercially") < said.index("Translating")
    made = read_lines(tmp_path / "out" / "prompts.jsonl")
    assert len(made) == 6 and {row["licence"] for row in made} == {"CC-BY-NC-4.0 (NLLB-200)"}
    logged = read_lines(tmp_path / "out" / "translations.jsonl")
    assert {row["licence"] for row in logged} == {"CC-BY-NC-4.0 (NLLB-200)"}
    assert "CC-BY-NC-4.0" in (tmp_path / "out" / "report.md").read_text()
    assert str(nllb.parent) not in "".join(file.read_text() for file in (tmp_path / "out").iterdir())


def test_another_model_of_the_same_name_translates_again(madlad, tmp_path):
    import shutil

    other = tmp_path / madlad.name
    shutil.copytree(madlad, other)
    config = (other / "config.json").read_text()
    (other / "config.json").write_text(config.replace('"d_ff": 32', '"d_ff": 33'))
    one, two = TransformersEngine(str(madlad), **GIVEN), TransformersEngine(str(other), **GIVEN)
    assert one.model == two.model and one.version != two.version


def test_unsupported_models(folders, tmp_path):
    def said(model):
        path = write_rows(tmp_path / "mine.jsonl")
        call = ["corpus", "translate", path, "--to", "da", "--engine", "transformers", "--engine-model", model]
        return fail(*call, "--output", tmp_path / "out")

    assert "neither a MADLAD-400 nor an NLLB-200" in said(folders("llama"))
    (tmp_path / "empty").mkdir()
    assert "contains no model; give a folder with a config.json" in said(tmp_path / "empty")
    assert "is not a model folder" in said(tmp_path / "gone")
    assert "could be downloaded" in said("nobody/nothing-mt")
    assert not (tmp_path / "out").exists()
