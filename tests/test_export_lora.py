"""`babelguard export --to lora`: PEFT loads the adapter, and its logits are those of the protected model."""

from __future__ import annotations

import json

import pytest
import tiny
import torch
from calls import fail, succeed
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoTokenizer, GenerationConfig

from babelguard.export.lora import RANKS
from babelguard.export.manifest import read_manifest

# PEFT calls what transformers has renamed, and warns of merging, which a test does on purpose.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`:UserWarning"),
]
QUESTIONS = ["How do I bake bread?", "적은 효모로 빵을 어떻게 굽나요?"]
# Family, changes of the configuration, and number of soft tokens.
MODELS = {
    "llama": ("llama", {}, 5),
    "llama, more than a rank": ("llama", {}, 9),
    "qwen2": ("qwen2", {}, 8),
    "gemma3": ("gemma3", {}, 5),
    "gemma3, tied": ("gemma3", {"tie_word_embeddings": True}, 5),
    "granite": ("granite", {}, 5),
    "granite, tied": ("granite", {"tie_word_embeddings": True}, 5),
    "qwen3, tied, with spare rows": ("qwen3", {"vocab_size": 600}, 5),
}


@pytest.fixture(scope="module", params=MODELS)
def exported(request, tmp_path_factory):
    """Return the base folder, the prompt and the export of a model."""
    name, changes, count = MODELS[request.param]
    root = tmp_path_factory.mktemp("lora")
    base = tiny.save_family(name, root / "base", **changes)
    prompt = tiny.make_prompt(*tiny.load_family(base), count)
    prompt.save_pretrained(root / "prompt")
    succeed("export", root / "prompt", "--to", "lora", "--output", root / "out", "--model", base)
    return base, prompt, root / "out"


def chat(tokenizer, text):
    messages = [{"role": "user", "content": text}]
    return torch.tensor([tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)])


def with_adapter(base, folder):
    return PeftModel.from_pretrained(tiny.load_family(base)[0], folder).eval()


@torch.no_grad()
def test_the_logits_are_those_of_the_protected_model(exported):
    base, prompt, folder = exported
    protected, _ = prompt.protect(*tiny.load_family(base))
    model, tokenizer = with_adapter(base, folder), AutoTokenizer.from_pretrained(folder)
    merged = with_adapter(base, folder).merge_and_unload()
    # In a model that shares the table with the head, a merged adapter also changes the output rows of the placeholders.
    tied = merged.get_output_embeddings().weight is merged.get_input_embeddings().weight
    kept = [i for i in range(merged.config.vocab_size) if not tied or i not in prompt.slot.token_ids]
    settings = GenerationConfig.from_pretrained(folder, max_new_tokens=8, do_sample=False)
    for text in QUESTIONS:
        ids = chat(tokenizer, text)
        expected = protected(ids).logits
        torch.testing.assert_close(model(ids).logits, expected, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(merged(ids).logits[..., kept], expected[..., kept], rtol=1e-5, atol=1e-5)
        given = {"attention_mask": torch.ones_like(ids), "generation_config": settings}
        wanted = protected.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=8, do_sample=False)
        assert torch.equal(model.generate(input_ids=ids, **given), wanted)


def damage(tensors, name, how):
    rows = tensors[name]
    return {"zeroed": torch.zeros_like(rows), "permuted": rows.roll(1, dims=-1), "shifted": rows.roll(1, dims=1)}[how]


@torch.no_grad()
@pytest.mark.parametrize(("part", "how"), [("A", "shifted"), ("A", "zeroed"), ("B", "permuted"), ("B", "zeroed")])
def test_the_comparison_finds_a_damaged_adapter(loaded, folders, tmp_path, part, how):
    from safetensors.torch import save_file

    prompt = tiny.make_prompt(*loaded("llama"), 8)
    prompt.save_pretrained(tmp_path / "prompt")
    succeed("export", tmp_path / "prompt", "--to", "lora", "--output", tmp_path / "out", "--model", folders("llama"))
    path = tmp_path / "out" / "adapter_model.safetensors"
    tensors = load_file(path)
    name = next(key for key in tensors if key.endswith(part))
    save_file(tensors | {name: damage(tensors, name, how).contiguous()}, path, {"format": "pt"})
    with pytest.raises(AssertionError):
        test_the_logits_are_those_of_the_protected_model((folders("llama"), prompt, tmp_path / "out"))


def test_the_files(exported):
    _, prompt, folder = exported
    settings = json.loads((folder / "adapter_config.json").read_text())
    assert settings["r"] == settings["lora_alpha"] in RANKS and settings["r"] >= len(prompt.theta)
    assert settings["base_model_name_or_path"] == "base"
    manifest = read_manifest(folder)
    tensors = load_file(folder / "adapter_model.safetensors")
    one, two = (tensors[f"base_model.model.model.embed_tokens.lora_embedding_{part}"] for part in "AB")
    assert one.shape == (settings["r"], manifest.facts["base_rows"]) and two.shape == (64, settings["r"])
    # Each placeholder has one rank, and the ranks that remain are zero.
    assert one.float().nonzero().tolist() == [[k, i] for k, i in enumerate(prompt.slot.token_ids)]
    assert not bool(two[:, len(prompt.theta) :].any())
    assert manifest.served_name == "defended"


@torch.no_grad()
def test_bfloat16_rounds_once(tmp_path):
    """The sum of a row in bfloat16 and the adapter is theta rounded to bfloat16, as the hook rounds it."""
    base = tiny.save_family("llama", tmp_path / "base")
    model, tokenizer = tiny.load_family(base)
    model.bfloat16().save_pretrained(base)
    prompt = tiny.make_prompt(model, tokenizer, 5)
    prompt.save_pretrained(tmp_path / "prompt")
    succeed("export", tmp_path / "prompt", "--to", "lora", "--output", tmp_path / "out", "--model", base)
    adapted = PeftModel.from_pretrained(model, tmp_path / "out").get_input_embeddings()
    found = adapted(torch.tensor([list(prompt.slot.token_ids)]))[0]
    assert torch.equal(found, prompt.theta.bfloat16())


def test_models_for_which_vllm_has_no_adapters_of_embeddings(loaded, folders, tmp_path):
    for name, said in (("llama", False), ("qwen2", True), ("gemma3", True)):
        tiny.make_prompt(*loaded(name)).save_pretrained(tmp_path / name)
        given = ["--to", "lora", "--output", tmp_path / f"{name}-out", "--model", folders(name)]
        output = succeed("export", tmp_path / name, *given)
        assert ("vLLM does not apply adapters" in output) == said
        card = (tmp_path / f"{name}-out" / "README.md").read_text()
        assert ("vllm serve" in card) != said


def test_appended_ids_need_a_checkpoint(loaded, folders, tmp_path):
    tiny.make_prompt(*loaded("mistral")).save_pretrained(tmp_path / "prompt")
    given = ["--to", "lora", "--output", tmp_path / "out", "--model", folders("mistral")]
    assert "use the exporter" in (sentence := fail("export", tmp_path / "prompt", *given)) and "checkpoint" in sentence
    assert [path.name for path in tmp_path.iterdir()] == ["prompt"]
