"""`babelguard verify` of exports in this process: it passes on a right one, and fails on every kind of wrong one."""

from __future__ import annotations

import json
import shutil

import exports
import pytest
import tiny
import torch
import varied
from calls import fail, invoke, succeed
from safetensors.torch import load_file

from babelguard.jobs.verify import verify
from babelguard.prompt import SafetyPrompt
from babelguard.verification.prompts import harmless_questions

HEAD, TABLE = "lm_head.weight", "model.embed_tokens.weight"
RENDERED, TOPS, FIRST, REPLIES = "rendered chats", "most likely tokens", "first log-probabilities", "greedy replies"
RESERVED = "placeholder tokens"
LLAMA, QWEN, GEMMA = varied.VARIED


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a function that exports a model once, and returns the folders of the base model and of the export."""
    kept = {}

    def make(name, to="checkpoint"):
        if (name, to) not in kept:
            kept[name, to] = exports.export(name, tmp_path_factory.mktemp("verify") / "model", to)
        return kept[name, to]

    return make


@pytest.fixture
def copied(made, tmp_path):
    """Return a function that copies an export, so that a test can change it."""

    def copy(name):
        base, out = made(name)
        return base, shutil.copytree(out, tmp_path / "out")

    return copy


def failed(base, out, **given):
    """Verify an export and return the names of the checks that failed."""
    found = verify(out, model=str(base), languages="en,ko", **given)
    return [check.name for check in found.checks if check.state == "failed"]


@pytest.mark.parametrize("name", varied.VARIED)
def test_a_right_export_passes(made, name):
    base, out = made(name)
    before = (out / "babelguard.json").read_bytes()
    shown = succeed("verify", out, "--model", base, "--languages", "en,ko,th")
    assert shown.count("passed") == 6
    assert "failed" not in shown
    found = json.loads((out / "verification.json").read_text())
    assert (found["served_by"], found["number_format"], found["languages"]) == (
        "transformers",
        "float32",
        ["en", "ko", "th"],
    )
    assert found["chats"] == 7  # these templates do not write tools
    assert str(out.parent) not in json.dumps(found)
    # The result is not part of what is verified.
    assert (out / "babelguard.json").read_bytes() == before
    assert not failed(base, out)


@pytest.mark.parametrize("name", varied.VARIED)
def test_the_replies_have_many_different_tokens(made, name):
    base, _ = made(name)
    protected, carrier = SafetyPrompt.from_pretrained(base.parent / "prompt").protect(*tiny.load_family(base))
    for question in harmless_questions(("en", "ko")).values():
        ids = carrier.apply_chat_template(
            [{"role": "user", "content": question}], add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        reply = protected.generate(**ids, max_new_tokens=16, do_sample=False)[0, ids["input_ids"].shape[1] :]
        assert len(set(reply.tolist())) >= varied.DISTINCT


def rows_of(out):
    return SafetyPrompt.from_pretrained(out / "safety_prompt").slot.token_ids


def zeroed(tensors, ids):
    tensors[TABLE][ids] = 0.0


def permuted(tensors, ids):
    tensors[TABLE][ids] = tensors[TABLE][ids[::-1]]


def shifted(tensors, ids):
    tensors[TABLE][ids] = tensors[TABLE][[ids[-1], *ids[:-1]]]


def one_lost(tensors, ids):
    tensors[TABLE][ids[2]] = tensors[TABLE][3]


@pytest.mark.parametrize("change", [zeroed, permuted, shifted, one_lost])
@pytest.mark.parametrize("name", varied.VARIED)
def test_wrong_rows_fail(copied, name, change):
    base, out = copied(name)
    exports.change_tensors(out, lambda tensors: change(tensors, list(rows_of(out))))
    assert failed(base, out) == [TOPS, FIRST, REPLIES]


def test_a_forgotten_embedding_scale_fails(copied):
    base, out = copied(GEMMA)
    ids = list(rows_of(out))

    def unscaled(tensors):
        theta = SafetyPrompt.from_pretrained(out / "safety_prompt").theta
        assert not torch.allclose(tensors[TABLE][ids], theta)
        tensors[TABLE][ids] = theta

    exports.change_tensors(out, unscaled)
    assert failed(base, out) == [TOPS, FIRST, REPLIES]


def test_a_head_that_keeps_the_rows_fails(copied):
    base, out = copied(QWEN)
    ids = list(rows_of(out))

    def tied(tensors):
        # A constant element is what makes a token likely in these models.
        tensors[HEAD][ids] = tensors[TABLE][ids]

    exports.change_tensors(out, tied)
    # transformers suppresses the tokens, so only their probability tells.
    assert RESERVED in failed(base, out)
    generation = json.loads((out / "generation_config.json").read_text())
    assert generation.pop("suppress_tokens")
    (out / "generation_config.json").write_text(json.dumps(generation))
    exports.sign(out)
    assert RESERVED in failed(base, out)


def test_suppression_alone_is_not_needed(copied):
    base, out = copied(QWEN)
    generation = json.loads((out / "generation_config.json").read_text())
    del generation["suppress_tokens"]
    (out / "generation_config.json").write_text(json.dumps(generation))
    exports.sign(out)
    assert not failed(base, out)


@pytest.mark.parametrize("name", varied.VARIED)
def test_a_template_without_the_prompt_fails(copied, name):
    base, out = copied(name)
    shutil.copyfile(base / "chat_template.jinja", out / "chat_template.jinja")
    exports.sign(out)
    assert failed(base, out) == [RENDERED, TOPS, FIRST, REPLIES]


def test_an_edited_template_fails(copied):
    base, out = copied(LLAMA)
    path = out / "chat_template.jinja"
    path.write_text(path.read_text() + "{{- ' ' }}")
    exports.sign(out)
    assert RENDERED in failed(base, out)


def test_a_template_that_raises_an_error_fails(copied):
    base, out = copied(LLAMA)
    (out / "chat_template.jinja").write_text("{{ raise_exception('no') }}")
    exports.sign(out)
    assert failed(base, out) == [RENDERED, TOPS, FIRST, REPLIES]


def test_placeholders_beyond_the_embedding_table_fail(copied):
    base, out = copied(QWEN)
    ids = list(rows_of(out))

    def cut(tensors):
        for name in (TABLE, HEAD):
            tensors[name] = tensors[name][: min(ids)].clone()

    exports.change_tensors(out, cut)
    config = json.loads((out / "config.json").read_text())
    (out / "config.json").write_text(json.dumps(config | {"vocab_size": min(ids)}))
    exports.sign(out)
    assert RENDERED in failed(base, out)


@pytest.mark.parametrize("file", ["README.md", "config.json", "model.safetensors", "safety_prompt/README.md"])
def test_a_file_that_was_changed_after_the_export_fails(copied, file):
    base, out = copied(LLAMA)
    if file.endswith("safetensors"):
        tensors = load_file(out / file)
        tensors["model.norm.weight"][0] += 1e-5
        exports.save_file(tensors, out / file, {"format": "pt"})
    else:
        with (out / file).open("a") as opened:
            opened.write("\n")
    result = invoke("verify", out, "--model", base, "--languages", "en")
    assert result.exit_code == 1, result.output
    assert result.stdout.count("failed") == 1
    assert f"{file} was changed after the export" in " ".join(result.stdout.split())


def test_a_missing_file_fails(copied):
    base, out = copied(LLAMA)
    (out / "README.md").unlink()
    assert failed(base, out) == ["files"]


def test_an_adapter_passes_and_a_wrong_one_fails(made, tmp_path):
    pytest.importorskip("peft")
    pytest.importorskip("babelguard.export.lora")
    for name in varied.VARIED:
        base, out = made(name, "lora")
        assert not failed(base, out)
        assert json.loads((out / "verification.json").read_text())["served_by"] == "PEFT"
        wrong = shutil.copytree(out, tmp_path / name.split(",")[0])
        exports.change_tensors(wrong, lambda tensors: next(iter(tensors.values())).zero_(), "adapter_model.safetensors")
        assert failed(base, wrong) == [TOPS, FIRST, REPLIES]


def test_bad_input(copied, tmp_path):
    base, out = copied(LLAMA)
    assert "is not an export of babelguard" in fail("verify", base)
    assert "no language 'xx'" in fail("verify", out, "--languages", "xx")
    assert "neither a local folder nor a model" in fail("verify", out)
    assert "no finished run" in fail("verify", out, "--run", tmp_path, "--model", base)
    other, _ = exports.save(QWEN, tmp_path / "other")
    assert "trained for" in fail("verify", out, "--model", other)
    (out / "config.json").write_text("{")
    assert fail("verify", out, "--model", base)


def test_other_formats_need_a_server(copied):
    base, out = copied(LLAMA)
    (out / "config.json").unlink()
    assert fail("verify", out, "--model", base).endswith("start a server as its README.md says, and give its --url.")


def test_the_verdicts_of_a_run(judge_of_bytes, finished, tmp_path):
    run, _ = finished("llama")
    out = tmp_path / "out"
    succeed("export", run, "--to", "checkpoint", "--output", out)
    # The run knows its base model. These models are small, so unused tokens are not unlikely.
    found = verify(out, run=run, languages="en")
    verdicts = found.checks[-1]
    assert (verdicts.name, verdicts.state, verdicts.found) == ("verdicts", "passed", "+0.0 [+0.0, +0.0] points")
    assert {check.name for check in found.checks if check.state == "failed"} <= {FIRST, RESERVED}

    def zero(tensors):
        tensors[TABLE][list(rows_of(out))] = 0.0

    exports.change_tensors(out, zero)
    changed = verify(out, run=run, languages="en").checks[-1]
    assert changed.remark != verdicts.remark or changed.state == "failed"
