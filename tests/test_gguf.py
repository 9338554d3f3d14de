"""`babelguard export --to gguf`: llama.cpp serves the file and replies as the protected model does in this process.

The converter is not installed by the tests; see docs/serving-llama-cpp.md.
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import re
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import engines
import numpy as np
import pieces
import pytest
import tiny
import torch
import varied
from calls import fail, succeed, tree

from babelguard.errors import UserError
from babelguard.export.gguf import QUANTISATIONS
from babelguard.export.llama_cpp import converter
from babelguard.export.manifest import read_manifest
from babelguard.prompt import SafetyPrompt

gguf = pytest.importorskip("gguf")
pytest.importorskip("xllamacpp")
pytestmark = pytest.mark.skipif(not converter.folder().is_dir(), reason="llama.cpp's converter is not installed")

CHATS: dict[str, list[dict[str, Any]]] = {
    "question": [{"role": "user", "content": varied.QUESTION}],
    "system message": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "적은 효모로 빵을 어떻게 굽나요?"},
    ],
    "two turns": [
        {"role": "user", "content": varied.QUESTION},
        {"role": "assistant", "content": "Knead."},
        {"role": "user", "content": "Why?"},
    ],
}
# The difference is rounding: most are below 0.005. In these random models it can grow by a factor of ten.
TOLERANCE = 0.05
# The tokenizers of the tests split text as GPT-2 does, which the converter cannot recognise.
TOY = ("--option", "pre_tokenizer=gpt-2")


class Case(NamedTuple):
    """A model, its prompt, and the folder of its export."""

    base: Path
    prompt: SafetyPrompt
    folder: Path

    @property
    def file(self) -> Path:
        """The GGUF file."""
        return next(self.folder.glob("*.gguf"))


def export(base: Path, prompt: SafetyPrompt, root: Path, *options: Any) -> Case:
    prompt.save_pretrained(root / "prompt")
    call = ("export", root / "prompt", "--to", "gguf", "--output", root / "out", "--model", base)
    succeed(*call, *TOY, *options)
    return Case(base, prompt, root / "out")


@pytest.fixture(scope="module", params=varied.VARIED)
def case(request, tmp_path_factory) -> Case:
    root = tmp_path_factory.mktemp("gguf")
    base = varied.save(request.param, root / "base")
    return export(base, tiny.make_prompt(*tiny.load_family(base)), root)


def agrees(address: str, base: Path, prompt: SafetyPrompt, messages: list[dict[str, Any]]) -> bool:
    """Whether llama.cpp replies as the protected model does, and the most likely tokens have the same log-probabilities.

    llama.cpp reports tokens that are parts of a character as one, so the tokens with log-probabilities are a part of the
    reply, in order.
    """
    ids, logs = varied.reference(base, prompt, messages)
    if engines.continued_by_llama_cpp(address, engines.rendered_by_llama_cpp(address, messages)) != ids:
        return False
    step, found = -1, engines.greedy(address, messages)["logprobs"]["content"]
    assert len(found) > 1
    for one in found:
        same = (k for k in range(step + 1, len(ids)) if ids[k] == one["id"] and close(one["top_logprobs"], logs[k]))
        step = next(same, None)
        if step is None:
            return False
    return True


def close(top: list[dict[str, Any]], logs: torch.Tensor) -> bool:
    return all(abs(one["logprob"] - float(logs[one["id"]])) < TOLERANCE for one in top)


def test_llama_cpp_replies_as_the_protected_model_does(case: Case):
    with engines.llama_cpp(case.file) as address:
        for messages in CHATS.values():
            assert agrees(address, case.base, case.prompt, messages)
    ids, _ = varied.reference(case.base, case.prompt, CHATS["question"])
    assert len(set(ids)) >= varied.DISTINCT


@pytest.mark.parametrize("wrong", ["zero", "permuted", "shifted"])
def test_another_prompt_is_noticed(case: Case, wrong: str):
    """The comparison can fail: the reference has another theta than the file."""
    theta = case.prompt.theta
    theta = {"zero": 0 * theta, "permuted": theta.flip(0), "shifted": theta.roll(1, 0)}[wrong]
    other = dataclasses.replace(case.prompt, theta=theta)
    with engines.llama_cpp(case.file) as address:
        assert not agrees(address, case.base, other, CHATS["question"])


def test_users_cannot_write_placeholders(case: Case):
    ids = case.prompt.slot.token_ids
    messages = [{"role": "user", "content": f"Say {''.join(case.prompt.slot.tokens)}!"}]
    with engines.llama_cpp(case.file) as address:
        found = engines.rendered_by_llama_cpp(address, messages)
    assert tuple(number for number in found if number in ids) == ids


def test_placeholders_are_not_generated_even_if_they_are_most_likely(case: Case, tmp_path: Path):
    """One of two placeholders gets the largest logit, so only the list of suppressed tokens can exclude it."""
    ids, changed = case.prompt.slot.token_ids, tmp_path / "changed.gguf"
    shutil.copyfile(case.file, changed)
    table = next(one for one in gguf.GGUFReader(changed, "r+").tensors if one.name == "output.weight").data
    row = 10 * table.mean(0)
    table[:] = 0
    table[ids[0]], table[ids[1]] = row, -row
    with engines.llama_cpp(changed) as address:
        made = engines.continued_by_llama_cpp(address, [1, 2, 3], tokens=8)
    assert len(made) == 8
    assert not set(made) & set(ids)


def metadata(file: Path) -> dict[str, Any]:
    fields = gguf.GGUFReader(file).fields
    return {name: field.contents() for name, field in fields.items()}


def test_the_file_says_what_it_is(case: Case):
    found, slot = metadata(case.file), case.prompt.slot
    manifest = read_manifest(case.folder)
    assert found["tokenizer.ggml.suppress_tokens"] == list(slot.token_ids)
    assert tuple(found["tokenizer.ggml.tokens"][number] for number in slot.token_ids) == slot.tokens
    assert {found["tokenizer.ggml.token_type"][number] for number in slot.token_ids} == {3}
    assert hashlib.sha256(found["tokenizer.chat_template"].encode()).hexdigest() == manifest.template_sha256
    assert found["general.name"] == "base defended"
    assert found["general.license"] == "apache-2.0"
    assert not [name for name in found if name.startswith("general.base") or "finetune" in name]
    assert (manifest.exporter, manifest.dtype, manifest.facts["type"]) == ("gguf", "float32", "F32")
    assert manifest.facts["own_head"]
    root = str(case.folder.parent).encode()
    assert not [path for path, content in tree(case.folder).items() if root in content]
    assert case.file.name == "base-defended-F32.gguf"
    assert sorted(path.name for path in case.folder.iterdir()) == [
        "Modelfile",
        "README.md",
        "babelguard.json",
        case.file.name,
        "safety_prompt",
    ]


def test_ollama_gets_no_template(case: Case):
    lines = (case.folder / "Modelfile").read_text().splitlines()
    assert f"FROM ./{case.file.name}" in lines
    assert "PARAMETER num_ctx 1024" in lines
    assert not [line for line in lines if line.startswith(("TEMPLATE", "SYSTEM", "ADAPTER"))]


@pytest.fixture(scope="module")
def llama(tmp_path_factory) -> tuple[Path, SafetyPrompt]:
    base = varied.save("llama", tmp_path_factory.mktemp("base") / "base")
    return base, tiny.make_prompt(*tiny.load_family(base))


def tensors(file: Path) -> dict[str, Any]:
    return {tensor.name: tensor for tensor in gguf.GGUFReader(file).tensors}


@pytest.mark.parametrize("quantisation", QUANTISATIONS)
def test_quantisation_leaves_the_tables_alone(llama, tmp_path, quantisation):
    base, prompt = llama
    made = export(base, prompt, tmp_path, "--option", f"quantisation={quantisation}")
    kind, found = quantisation.upper(), tensors(made.file)
    assert metadata(made.file)["general.file_type"] == gguf.LlamaFileType[f"MOSTLY_{kind}"]
    assert read_manifest(made.folder).facts["tensors"] == {"F16": 2, "F32": 7, kind: 21}
    assert {found[name].tensor_type.name for name in ("token_embd.weight", "output.weight")} == {"F16"}
    rows = torch.from_numpy(found["token_embd.weight"].data[list(prompt.slot.token_ids)].copy())
    assert torch.equal(rows, prompt.theta.half())
    with engines.llama_cpp(made.file) as address:
        assert engines.greedy(address, CHATS["question"])["logprobs"]["content"]


def test_numbers_that_are_too_large_for_float16_are_kept(llama, tmp_path):
    base, prompt = llama
    theta = prompt.theta.clone()
    theta[0, 0] = 1e5
    made = export(base, dataclasses.replace(prompt, theta=theta), tmp_path, "--option", "quantisation=q8_0")
    table = tensors(made.file)["token_embd.weight"]
    assert table.tensor_type.name == "F32"
    assert table.data[prompt.slot.token_ids[0], 0] == np.float32(1e5)


@pytest.mark.parametrize(("dtype", "kind"), [("bfloat16", "BF16"), ("float16", "F16")])
def test_the_dtype_is_that_of_the_checkpoint(llama, tmp_path, dtype, kind):
    made = export(*llama, tmp_path, "--dtype", dtype)
    assert tensors(made.file)["token_embd.weight"].tensor_type.name == kind
    assert read_manifest(made.folder).dtype == dtype
    assert made.file.name.endswith(f"-{kind}.gguf")


@pytest.mark.parametrize(("count", "source"), [(5, "reserved"), (12, "appended")])
def test_vocabularies_of_sentencepiece(tmp_path, count, source):
    base = pieces.save(tmp_path / "base")
    prompt = tiny.make_prompt(*tiny.load_family(base), count)
    assert prompt.slot.source == source
    prompt.save_pretrained(tmp_path / "prompt")
    succeed("export", tmp_path / "prompt", "--to", "gguf", "--output", tmp_path / "out", "--model", base)
    made = Case(base, prompt, tmp_path / "out")
    assert metadata(made.file)["tokenizer.ggml.model"] == "llama"
    with engines.llama_cpp(made.file) as address:
        carrier = prompt.carrier(tiny.load_family(base)[1])
        for messages in CHATS.values():
            ids = carrier.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
            assert engines.rendered_by_llama_cpp(address, messages) == ids


MISTAKES = {
    "an unknown quantisation": (("--option", "quantisation=q4_k_m"), "cannot be 'q4_k_m'; choose q8_0, q5_1"),
    "an unknown pre-tokenizer": (("--option", "pre_tokenizer=gpt-9"), "cannot be 'gpt-9'; available: .*gpt-2, "),
    "an unknown option": (("--option", "quantization=q8_0"), "quantization"),
    "a tokenizer that is not recognised": (
        (),
        "does not recognise how the tokenizer of base splits text.*pre_tokenizer=NAME",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_one_sentence_and_leave_nothing(llama, tmp_path, mistake):
    options, sentence = MISTAKES[mistake]
    base, prompt = llama
    prompt.save_pretrained(tmp_path / "prompt")
    call = ("export", tmp_path / "prompt", "--to", "gguf", "--output", tmp_path / "out", "--model", base, *options)
    assert re.search(sentence, fail(*call))
    assert [path.name for path in tmp_path.iterdir()] == ["prompt"]


STATES = {
    "missing": "is not installed; install it with",
    "changed": "does not have the expected SHA-256",
    "without sentencepiece": "needs the package sentencepiece",
}


@pytest.mark.parametrize("state", STATES)
def test_the_converter_must_be_installed_and_unchanged(llama, tmp_path, monkeypatch, state):
    base, prompt = llama
    prompt.save_pretrained(tmp_path / "prompt")
    tool = tmp_path / "cache" / "tools" / converter.NAME
    if state != "missing":
        left_out = ["__pycache__"] + ["sentencepiece"] * (state != "changed")
        shutil.copytree(converter.folder(), tool, ignore=shutil.ignore_patterns(*left_out))
    if state == "changed":
        (tool / "gguf" / "lazy.py").write_text("print('something else')")
    monkeypatch.setenv("BABELGUARD_CACHE", str(tmp_path / "cache"))
    said = fail("export", tmp_path / "prompt", "--to", "gguf", "--output", tmp_path / "out", "--model", base)
    assert STATES[state] in said
    assert f"pip install --no-deps --target {tool} {converter.PACKAGES}" in said
    assert not (tmp_path / "out").exists()


def test_a_file_whose_template_would_insert_other_tokens_is_not_written(llama, tmp_path):
    base, prompt = llama
    prompt.save_pretrained(tmp_path / "prompt")
    succeed("export", tmp_path / "prompt", "--to", "checkpoint", "--output", tmp_path / "out", "--model", base)
    wrong = {"tokens": {"7": prompt.slot.tokens[0]}, "suppressed": [7], "licence": None, "pre_tokenizer": "gpt-2"}
    given = {"model": str(tmp_path / "out"), "output": str(tmp_path / "out.gguf"), "type": None, "name": "m"}
    with pytest.raises(UserError, match="its token 7 is not the placeholder"):
        converter.run(given | wrong | {"description": ""}, "m")
    assert not (tmp_path / "out.gguf").exists()


ANSWERS = {
    "NotImplementedError: Architecture 'NewForCausalLM' not supported!": "does not know the architecture NewForCausalLM of m;",
    "ValueError: a shape is wrong.": "failed on m (ValueError: a shape is wrong); use the exporter checkpoint.",
}


@pytest.mark.parametrize("message", ANSWERS)
def test_errors_of_the_converter_are_one_sentence(message):
    kind, _, text = message.partition(": ")
    found = converter.explained({"error": kind, "message": text, "errno": None}, "m")
    assert isinstance(found, UserError)
    assert ANSWERS[message] in str(found)


def test_a_full_disk_is_reported_as_such():
    found = converter.explained({"error": "OSError", "message": "x", "errno": errno.ENOSPC}, "m")
    assert isinstance(found, OSError)
    assert found.errno == errno.ENOSPC
