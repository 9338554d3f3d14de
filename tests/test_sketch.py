"""Which copies of a model take its safety prompt: the same weights, rounded or quantised copies, and no other model."""

from __future__ import annotations

import copy
import json
import shutil
import warnings
from types import SimpleNamespace

import pytest
import tiny
import torch
from calls import fail, succeed, user_error
from gguf import GGMLQuantizationType, dequantize, quantize

from babelguard.models.sketch import Sketch
from babelguard.prompt import SafetyPrompt, unprotect

pytestmark = pytest.mark.usefixtures("judge_of_bytes")
NOISE = torch.Generator()


def dequantised(weight, kind="Q4_0"):
    if weight.ndim == 1:
        return weight
    number = GGMLQuantizationType[kind]
    return torch.from_numpy(dequantize(quantize(weight.numpy(), number), number)).view_as(weight)


def low_rank(weight, size):
    if weight.ndim == 1:
        return weight
    up, down = (torch.randn(n, 2, generator=NOISE.manual_seed(n)) for n in weight.shape)
    update = up @ down.T
    return weight + update * (size * weight.norm() / update.norm())


def changed(model, change, part=""):
    """Return a copy with other weights. `part` is in the names of the changed parameters."""
    other = copy.deepcopy(model)
    for name, value in other.named_parameters():
        if part in name:
            value.data.copy_(change(value.data))
    return other


SAME = {
    "a copy": (lambda weight: weight, ""),
    "rounded to bfloat16": (lambda weight: weight.bfloat16(), ""),
    "rounded to float16": (lambda weight: weight.half(), ""),
    "another head": (lambda weight: weight + 1, "lm_head"),
}
CLOSE = {
    "Q8_0": (lambda weight: dequantised(weight, "Q8_0"), ""),
    "Q5_0": (lambda weight: dequantised(weight, "Q5_0"), ""),
    "Q4_0": (dequantised, ""),
    "Q4_1": (lambda weight: dequantised(weight, "Q4_1"), ""),
    "only the layers quantised": (dequantised, "layers"),
    "a merged adapter": (lambda weight: low_rank(weight, 0.03), "layers"),
}
OTHER = {
    "embeddings of another model": (lambda weight: weight.roll(1, 0), "embed_tokens"),
    "one layer of another model": (lambda weight: weight.flip(0) if weight.ndim > 1 else weight, "layers.2"),
    "a large adapter": (lambda weight: low_rank(weight, 0.6), "layers"),
    "fine-tuned norms": (lambda weight: weight * 1.02 + 0.001, "norm"),
    "norms that are not numbers": (lambda weight: weight * float("nan"), "norm"),
    "scaled weights": (lambda weight: weight * 1.4, ""),
}


@pytest.mark.parametrize("name", ["llama", "qwen2", "gemma3"])
@pytest.mark.parametrize("case", [*SAME, *CLOSE, *OTHER])
def test_which_changes_make_another_model(loaded, case, name):
    model, _ = loaded(name)
    change, part = (SAME | CLOSE | OTHER)[case]
    found = Sketch.of(model).difference(Sketch.of(changed(model, change, part)))
    assert (bool(found.reason), found.other) == (case not in SAME, case in OTHER), found


def test_a_half_precision_copy_is_the_same_model(loaded):
    model, _ = loaded("llama")
    assert Sketch.of(model).difference(Sketch.of(copy.deepcopy(model).bfloat16())) == ("", False)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"seed": 1}, "%, and the limit is 25 %"),
        ({"num_hidden_layers": 2}, "another number"),
        ({"intermediate_size": 128}, "the shape of layers.0.mlp"),
        ({"vocab_size": 700}, "the shape of embedding is 700x64 instead of"),
    ],
)
def test_another_model_is_refused_with_the_reason(loaded, given, said):
    model, tokenizer = loaded("llama")
    sentence = user_error(
        lambda: tiny.make_prompt(model, tokenizer).check(tiny.make_model("llama", **given), tokenizer)
    )
    assert "was trained for tiny/chat, but the given model is another model" in sentence
    assert said in sentence


def test_a_sketch_is_the_same_after_it_was_saved(loaded, tmp_path):
    model, tokenizer = loaded("qwen2")
    tiny.make_prompt(model, tokenizer).save_pretrained(tmp_path)
    kept = SafetyPrompt.from_pretrained(tmp_path).base_sketch
    assert kept.difference(Sketch.of(model)) == ("", False)
    assert kept.lines() == Sketch.of(model).lines()
    numbers = sum(len(part.values) for part in kept.parts.values())
    assert 100 < numbers < 600
    assert len((tmp_path / "config.json").read_text()) < 16_000


def test_the_head_is_not_compared(loaded):
    """A converted model may have a head of its own where the original uses the embeddings."""
    tied = tiny.make_model("qwen2", tie_word_embeddings=True)
    untied = tiny.make_model("qwen2")
    untied.load_state_dict(tied.state_dict())
    untied.lm_head.weight.data.mul_(2)
    assert Sketch.of(tied).difference(Sketch.of(untied)) == ("", False)
    assert Sketch.of(untied).difference(Sketch.of(tied)) == ("", False)


def test_packed_weights_are_left_out_but_the_rest_is_compared(loaded):
    """bitsandbytes keeps matrices as bytes, GPTQ under other names. Embeddings and norms stay as they are."""
    model, _ = loaded("llama")
    base = Sketch.of(model)
    packed = copy.deepcopy(model)
    packed.model.layers[0].self_attn.to(torch.float8_e4m3fn)
    packed.config.quantization_config = SimpleNamespace(quant_method="bitsandbytes")
    for layer in packed.model.layers:
        layer.mlp.up_proj.weight = torch.nn.Parameter(torch.zeros(8, 1, dtype=torch.uint8), requires_grad=False)
        del layer.mlp.down_proj.weight
    assert base.difference(Sketch.of(packed)) == ("weight matrices are packed and were not compared", False)
    assert Sketch.of(packed).difference(Sketch.of(packed)) == ("", False)
    packed.model.embed_tokens.weight.data.mul_(-1)
    assert base.difference(Sketch.of(packed)).other
    # Without the note in its configuration, a model whose weights are missing is another model.
    del packed.config.quantization_config
    assert base.difference(Sketch.of(packed)).other


def test_a_prompt_of_a_dequantised_model_defends_the_original(loaded):
    """As a prompt trained on a GGUF file is used with the weights on the hub."""
    original, tokenizer = copy.deepcopy(loaded("qwen2")[0]), loaded("qwen2")[1]
    prompt = tiny.make_prompt(changed(original, dequantised), tokenizer)
    with pytest.warns(UserWarning, match=r"not exactly those of tiny/chat .* differs by .* 'babelguard evaluate'\.$"):
        protected, carrier = prompt.protect(original, tokenizer)
    chat = carrier.apply_chat_template(
        [{"role": "user", "content": "Hi"}], add_generation_prompt=True, return_dict=False
    )
    assert [token for token in chat if token in prompt.slot.token_ids] == list(prompt.slot.token_ids)
    with torch.no_grad():
        defended = protected(torch.tensor([chat])).logits
        unprotect(original)
        plain = original(torch.tensor([[token for token in chat if token not in prompt.slot.token_ids]])).logits
    assert not torch.allclose(defended[0, -1], plain[0, -1], atol=1e-3)


def test_the_same_weights_are_not_mentioned(loaded):
    model, tokenizer = loaded("llama")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tiny.make_prompt(model, tokenizer).check(copy.deepcopy(model).half(), tokenizer)


@pytest.fixture
def original_and_run(folders, finished, tmp_path):
    """A run, and a folder with the model that its base model is a dequantised copy of."""
    run, original = tmp_path / "run", tmp_path / "original"
    shutil.copytree(finished("qwen2")[0], run)
    model, tokenizer = tiny.load_family(folders("qwen2"))
    changed(model, dequantised).save_pretrained(original)
    tokenizer.save_pretrained(original)
    (run / "local.json").unlink()
    return original, run


def test_commands_say_once_that_the_weights_differ(original_and_run, tmp_path):
    original, run = original_and_run
    (tmp_path / "mine.csv").write_text("id,label,en\na,harmful,Why so?\nb,harmless,Why not?\n")
    measure = ("evaluate", run, "--prompts", tmp_path / "mine.csv", "--judge", "patterns", "--reply-tokens", 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for said in (
            succeed("chat", run, "--model", original, "--tokens", 2, input="Hi\n/quit\n"),
            succeed(*measure, "--model", original),
            succeed("evaluate", original, *measure[2:], "--defence", run / "safety_prompt", "--output", tmp_path / "e"),
            succeed("export", run, "--model", original, "--to", "checkpoint", "--output", tmp_path / "made"),
        ):
            assert said.count("are not exactly those of") == 1


def test_commands_refuse_another_model(original_and_run, tmp_path):
    original, run = original_and_run
    tiny.save_family("qwen2", tmp_path / "other", seed=2)
    assert "is another model" in fail("chat", run, "--model", tmp_path / "other")
    config = json.loads((run / "safety_prompt" / "config.json").read_text())
    config["base_sketch"].pop("embedding")
    (run / "safety_prompt" / "config.json").write_text(json.dumps(config))
    assert "the sketch of the base model is incomplete" in fail("chat", run, "--model", original)
