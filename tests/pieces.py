"""A tiny Gemma 3 with a vocabulary of sentencepiece, as the real one has: `tokenizer.model` beside `tokenizer.json`.

The library sentencepiece comes with llama.cpp's converter and is used in a process of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import tiny
import varied
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from babelguard.export.llama_cpp import converter

TRAIN = """
import json, sys, sentencepiece
given = json.load(sys.stdin)
sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter(given["texts"]), model_prefix=given["prefix"], model_type="bpe", vocab_size=420, byte_fallback=True,
    hard_vocab_limit=False, add_dummy_prefix=False, remove_extra_whitespaces=False, normalization_rule_name="identity",
    pad_id=0, eos_id=1, bos_id=2, unk_id=3, pad_piece="<pad>", eos_piece="<eos>", bos_piece="<bos>", minloglevel=2,
    user_defined_symbols=given["specials"],
)
model = sentencepiece.SentencePieceProcessor(model_file=given["prefix"] + ".model")
print(json.dumps([[model.id_to_piece(k), model.get_score(k)] for k in range(len(model))]))
"""
SPECIALS = ["<start_of_turn>", "<end_of_turn>", *(f"<unused{k}>" for k in range(8))]


def save(folder: Path) -> Path:
    """Save the model, its tokenizer and the vocabulary as a local model folder."""
    folder.mkdir()
    given = {"texts": tiny.SENTENCES * 4, "prefix": str(folder / "tokenizer"), "specials": SPECIALS}
    command = [sys.executable, "-P", "-c", TRAIN]
    made = subprocess.run(
        command,
        input=json.dumps(given),
        env={"PYTHONPATH": str(converter.folder())},
        text=True,
        capture_output=True,
        check=True,
    )
    (folder / "tokenizer.vocab").unlink()
    pieces = json.loads(made.stdout)
    tokenizer = fast(pieces)
    tokenizer.chat_template = tiny.GEMMA
    tokenizer.save_pretrained(folder)
    changes = {"vocab_size": len(pieces), "bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0}
    tiny.make_model("gemma3", **varied.VARIED["gemma3, scaled"].changes, **changes).save_pretrained(folder)
    return folder


def fast(pieces: list[tuple[str, float]]) -> PreTrainedTokenizerFast:
    """Return the tokenizer of transformers for the pieces and scores of a vocabulary."""
    vocabulary = {piece: k for k, (piece, _) in enumerate(pieces)}
    merges = []
    for piece, score in sorted(pieces, key=lambda one: -one[1]):
        if piece not in SPECIALS and score < 0:
            parts = ((piece[:k], piece[k:]) for k in range(1, len(piece)))
            merges += [(a, b) for a, b in parts if a in vocabulary and b in vocabulary]
    inner = Tokenizer(models.BPE(vocabulary, merges, byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    inner.normalizer = normalizers.Replace(" ", "▁")
    inner.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    inner.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    inner.add_special_tokens(
        [AddedToken(name, normalized=False) for name in ("<pad>", "<eos>", "<bos>", "<unk>", *SPECIALS)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>", unk_token="<unk>"
    )
