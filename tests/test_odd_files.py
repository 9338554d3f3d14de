"""Files of other programs, of older versions and of attackers, given to commands: one sentence, exit code 2."""

from __future__ import annotations

import json
import os
import shutil

import pytest
import tiny
import torch
from calls import fail, invoke, user_error
from safetensors.torch import load_file, save_file

from babelguard.config import load_settings
from babelguard.errors import UserError
from babelguard.files.tensors import read_tensors, write_tensors
from babelguard.jobs.open_target import read_prompt
from babelguard.models.load import load_chat_model
from babelguard.models.weight_files import _check_formats, _Stored
from babelguard.prompt import SafetyPrompt

DEEP = "[" * 30_000


@pytest.fixture
def model(folders, tmp_path):
    """A model folder that a test may change."""
    return shutil.copytree(folders("llama"), tmp_path / "model")


@pytest.fixture
def shards(tmp_path):
    """A model folder with several files of weights, and the content of its index."""
    folder = tmp_path / "shards"
    tiny.make_model("llama").save_pretrained(folder, max_shard_size="100KB")
    tiny.make_tokenizer(tiny.FAMILIES["llama"]).save_pretrained(folder)
    return folder, json.loads((folder / "model.safetensors.index.json").read_text())


@pytest.fixture
def prompt(loaded, tmp_path):
    """A saved prompt that a test may change."""
    tiny.make_prompt(*loaded("llama")).save_pretrained(tmp_path / "prompt")
    return tmp_path / "prompt"


def load_error(folder):
    return user_error(lambda: load_chat_model(str(folder), device="cpu", dtype="float32"))


UP = "model.layers.1.mlp.up_proj.weight"


def without_entry(folder, index):
    del index["weight_map"][UP]


def without_file(folder, index):
    (folder / index["weight_map"][UP]).unlink()


def cut_file(folder, index):
    path = folder / index["weight_map"][UP]
    path.write_bytes(path.read_bytes()[:-100])


def empty_file(folder, index):
    (folder / index["weight_map"][UP]).write_bytes(b"")


def wrong_file(folder, index):
    index["weight_map"][UP] = index["weight_map"]["lm_head.weight"]


def renamed(folder, index):
    path = folder / index["weight_map"][UP]
    tensors = load_file(path)
    tensors[UP.replace("up_proj", "other")] = tensors.pop(UP)
    save_file(tensors, path, metadata={"format": "pt"})


def outside(folder, index):
    index["weight_map"][UP] = "../model.safetensors"


def long_name(folder, index):
    index["weight_map"][UP] = "a" * 5000


def no_name(folder, index):
    index["weight_map"][UP] = ""


def no_map(folder, index):
    index["weight_map"] = []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_entry, f"{UP} in model-0000"),
        (without_file, "of-00006.safetensors is missing"),
        (cut_file, "of-00006.safetensors is damaged"),
        (empty_file, "of-00006.safetensors is damaged"),
        (wrong_file, f"{UP} in model-0000"),
        (renamed, f"{UP} is missing in model-0000"),
        (outside, "'../model.safetensors' is not the name of a file"),
        (long_name, "aaa' is not the name of a file"),
        (no_name, "'' is not the name of a file"),
        (no_map, "index.json is damaged (weight_map: Input should be a valid dictionary)"),
    ],
)
def test_a_model_in_several_files(shards, change, message):
    folder, index = shards
    load_chat_model(str(folder), device="cpu", dtype="float32")
    change(folder, index)
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert message in load_error(folder)


NORM = "model.norm.weight"
PACKED = (
    torch.float8_e4m3fn,
    torch.float8_e5m2,
    torch.int8,
    torch.uint8,
    torch.int16,
    torch.int32,
    torch.int64,
    torch.bool,
    torch.complex64,
)


def pack(folder, weight, dtype, into="model.safetensors", **quantization):
    """Convert a weight to another number format, write the weights to a file, and set the quantization_config."""
    tensors = load_file(folder / "model.safetensors")
    tensors[weight] = tensors[weight].to(dtype)
    tensors |= {name: torch.ones(1) for name in quantization.pop("scales", ())}
    (folder / "model.safetensors").unlink()
    if into.endswith(".bin"):
        torch.save(tensors, folder / into)
    else:
        save_file(tensors, folder / into, metadata={"format": "pt"})
    if quantization:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {"quantization_config": quantization}))


@pytest.mark.parametrize("into", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("weight", [UP, NORM])
@pytest.mark.parametrize("dtype", PACKED, ids=str)
def test_quantised_weights_without_their_scale(model, dtype, weight, into):
    pack(model, weight, dtype, into)
    said = load_error(model)
    assert f"The weight {weight} in {model / into} is quantised or packed" in said
    assert "has no quantization_config" in said


@pytest.mark.parametrize("scales", [(), (UP + "_scale_inv",)])
def test_a_scale_does_not_replace_the_configuration(model, scales):
    pack(model, UP, torch.float8_e4m3fn, scales=scales)
    assert "has no quantization_config" in load_error(model)


@pytest.mark.parametrize(
    ("quantization", "message"),
    [
        ({"quant_method": "zzz"}, "has the quant_method 'zzz', and transformers needs one that it knows"),
        ({"quant_method": 5}, "has the quant_method '5'"),
        ({"bits": 4}, "has no quant_method"),
        ({"quant_method": "fp8"}, f"The weight {UP} in"),
        ({"quant_method": "mxfp8"}, "has no scale beside it"),
    ],
)
@pytest.mark.parametrize("dtype", [torch.int8, torch.float8_e4m3fn], ids=str)
def test_quantisation_that_nothing_undoes(model, dtype, quantization, message):
    pack(model, UP, dtype, scales=(UP.replace("layers.1", "layers.2") + "_scale_inv",), **quantization)
    assert message in load_error(model)


def test_scales_beside_their_weights_are_found(model):
    for name in ("weight_scale_inv", "weight_scale", "scale"):
        stored = [_Stored(model, UP, "F8_E4M3"), _Stored(model, UP.replace("weight", name), "U8")]
        _check_formats(stored, {"quant_method": "fp8"})


def test_weights_of_old_versions_of_pytorch(model):
    before = load_chat_model(str(model), device="cpu", dtype="float32").weights
    pack(model, UP, torch.float32, "pytorch_model.bin")
    assert load_chat_model(str(model), device="cpu", dtype="float32").weights == before


class Code:
    def __reduce__(self):
        return print, ("run",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({UP: Code()}, "contains more than weights"),
        ([1], "it does not hold a tensor for each name"),
        ({UP: {}}, "it does not hold a tensor for each name"),
    ],
)
def test_files_of_pytorch_without_weights(model, capsys, content, message):
    (model / "model.safetensors").unlink()
    torch.save(content, model / "pytorch_model.bin")
    assert message in load_error(model)
    assert not capsys.readouterr().out


def test_an_index_of_old_files(model):
    pack(model, UP, torch.float32, "pytorch_model.bin")
    (model / "pytorch_model.bin").rename(model / "part.bin")
    (model / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": {UP: "part.bin"}}))
    assert "part.bin is missing in pytorch_model.bin.index.json" in load_error(model)


def test_weights_in_a_file_that_the_configuration_names(model):
    pack(model, UP, torch.int8, "other.safetensors")
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"transformers_weights": "other.safetensors"}))
    assert "other.safetensors is quantised or packed (I8)" in load_error(model)


@pytest.mark.parametrize("name", ["config.json", "generation_config.json", "tokenizer_config.json"])
@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"5", b"\xff{}", b"\0", DEEP.encode(), b'{"a": ' + b"9" * 5000 + b"}"]
)
def test_json_files_of_a_model(model, name, content):
    (model / name).write_bytes(content)
    said = load_error(model)
    assert f"{name} is damaged" in said and len(said) < 500


@pytest.mark.parametrize("value", ["x", ["x"], [1, "x"], 1.5, True, {"a": 1}])
@pytest.mark.parametrize("name", ["generation_config.json", "config.json"])
def test_an_end_of_sequence_id_of_the_wrong_type(model, name, value):
    (model / "generation_config.json").unlink() if name == "config.json" else None
    path = model / name
    content = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(content | {"eos_token_id": value}))
    assert "eos_token_id" in load_error(model)


@pytest.mark.parametrize(
    ("name", "setting", "value"),
    [
        ("generation_config.json", "eos_token_id", 10**9),
        ("generation_config.json", "eos_token_id", -1),
        ("generation_config.json", "eos_token_id", [1, 10**30]),
        ("generation_config.json", "suppress_tokens", [10**9]),
        ("generation_config.json", "suppress_tokens", [-1]),
        ("config.json", "eos_token_id", 10**9),
        ("config.json", "max_position_embeddings", 0),
        ("config.json", "max_position_embeddings", -5),
        ("config.json", "architectures", "LlamaForCausalLM"),
        ("config.json", "architectures", [5]),
    ],
)
def test_settings_of_a_model_that_are_out_of_range(model, name, setting, value):
    (model / "generation_config.json").unlink() if name == "config.json" else None
    content = json.loads((model / name).read_text()) if (model / name).exists() else {}
    (model / name).write_text(json.dumps(content | {setting: value}))
    assert setting in load_error(model)


@pytest.mark.parametrize(
    ("architecture", "message"),
    [("Foo", "is a Foo according to config.json, which is not a causal"), ("LlamaModel", "does not generate text")],
)
def test_architectures_that_are_not_chat_models(model, architecture, message):
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"architectures": [architecture]}))
    assert message in load_error(model)


@pytest.mark.parametrize(
    "name", ["generation_config.json", "special_tokens_map.json", "added_tokens.json", "model.safetensors"]
)
def test_pipes_are_not_read(model, name):
    (model / name).unlink(missing_ok=True)
    os.mkfifo(model / name)
    assert f"{model / name} is not a regular file" in load_error(model)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{% if %}", "TemplateSyntaxError"),
        ("{{ 1 / 0 }}", "ZeroDivisionError"),
        ("{{ messages[7].content }}", "UndefinedError"),
        ("{{ raise_exception('no\nuser') }}", "no user"),
        ("{% for m in messages %}", "TemplateSyntaxError"),
    ],
)
def test_a_template_that_cannot_be_rendered(model, files, tmp_path, template, message):
    (model / "chat_template.jinja").write_text(template)
    given = ["--prompts", files / "corpus.csv", "--output", tmp_path / "out", "--device", "cpu"]
    sentence = fail("evaluate", model, *given)
    assert "cannot render a chat" in sentence and message in sentence
    assert not (tmp_path / "out").exists()


# It takes lists of text parts only, and babelguard gives texts.
PARTS = "{% for part in messages[0].content %}{{ part.text }}{% endfor %}"


@pytest.mark.parametrize("template", ["hello", " ", "{{ 5 }}", "{{ messages[0].role }}", PARTS])
def test_a_template_that_drops_the_question(model, files, tmp_path, template):
    (model / "chat_template.jinja").write_text(template)
    given = ["--prompts", files / "corpus.csv", "--output", tmp_path / "out", "--device", "cpu"]
    assert "leaves out the text of the user" in fail("evaluate", model, *given)
    assert not (tmp_path / "out").exists()


def test_a_template_that_writes_a_lone_surrogate(model):
    (model / "chat_template.jinja").write_text(r"{{ '\ud800' }}{{ messages[0].content }}")
    assert "cannot render a chat (UnicodeEncodeError" in load_error(model)


def test_an_empty_vocabulary(model):
    content = json.loads((model / "tokenizer.json").read_text())
    content["model"] |= {"vocab": {}, "merges": []}
    content["added_tokens"] = []
    (model / "tokenizer.json").write_text(json.dumps(content))
    (model / "chat_template.jinja").write_text("{{ messages[0].content }}")
    assert "finds no tokens in a chat" in load_error(model)


def test_a_template_with_a_byte_order_mark(model):
    before = load_chat_model(str(model), device="cpu").tokenizer.chat_template
    path = model / "chat_template.jinja"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert load_chat_model(str(model), device="cpu").tokenizer.chat_template == before


def test_adapters_and_gguf_files(tmp_path):
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text('{"peft_type": "LORA", "base_model_name_or_path": "meta/chat"}')
    sentence = fail("evaluate", adapter, "--benchmark", "babelguard-corpus")
    assert "is a PEFT adapter of meta/chat; merge it into that model" in sentence
    (adapter / "adapter_config.json").write_text("{}")
    assert "is a PEFT adapter of its base model" in load_error(adapter)
    (adapter / "adapter_config.json").write_text("[")
    assert "adapter_config.json is damaged" in load_error(adapter)
    (tmp_path / "gguf").mkdir()
    for path in (tmp_path / "gguf", tmp_path / "gguf" / "model.gguf", tmp_path / "none.gguf"):
        (tmp_path / "gguf" / "model.gguf").write_bytes(b"GGUF")
        sentence = fail("defend", path, "--languages", "en,da")
        assert "is a GGUF file" in sentence and "that it was converted from" in sentence


@pytest.mark.parametrize("device", ["meta", "nonsense", "cuda:77", "cpu:x", ""])
def test_odd_devices(folders, device):
    said = user_error(lambda: load_chat_model(str(folders("llama")), device=device))
    assert f"The device '{device}' cannot be used" in said


ODD = [
    ("name", None),
    ("name", 5),
    ("name", ""),
    ("name", " "),
    ("name", "none"),
    ("name", "a\x1b[31mb"),
    ("name", "a\nb"),
    ("seed", "0"),
    ("seed", True),
    ("seed", 1.5),
    ("training", []),
    ("training", {"languages": "en"}),
    ("training", {"languages": [1]}),
    ("training", {"written": 5}),
    ("training", {"written": None}),
    ("training", {"start": ["a"]}),
    ("format", -1),
    ("format", 0),
    ("format", "1"),
    ("format", True),
    ("format", 99),
    ("length", -1),
    ("scale", "before"),
    ("type", "other"),
    ("slot", None),
    ("base_model", None),
]
ODD_SLOTS = [
    ("placement", "anywhere"),
    ("placement", None),
    ("source", "stolen"),
    ("source", 1),
    ("default_system", None),
    ("tokens", None),
    ("tokens", []),
    ("tokens", [""] * 5),
    ("tokens", [None] * 5),
    ("tokens", [f"{k}<a>" for k in range(5)]),
    ("tokens", [f"a{k}" for k in range(5)]),
    ("token_ids", [1, 1, 2, 3, 4]),
    ("token_ids", [1, 2]),
    ("token_ids", [-1, 1, 2, 3, 4]),
    ("token_ids", [10**30, 1, 2, 3, 4]),
    ("token_ids", "12345"),
]


@pytest.mark.parametrize(
    ("place", "value"), [((name,), value) for name, value in ODD] + [(("slot", n), v) for n, v in ODD_SLOTS]
)
def test_odd_prompt_configurations(prompt, loaded, place, value):
    config = json.loads((prompt / "config.json").read_text())
    *sections, last = place
    inner = config[sections[0]] if sections else config
    inner[last] = value
    (prompt / "config.json").write_text(json.dumps(config))

    def use():
        found = SafetyPrompt.from_pretrained(prompt)
        found.carrier(loaded("llama")[1])

    assert "prompt" in user_error(use)


@pytest.mark.parametrize("content", [DEEP, '{"format": ' + "9" * 5000 + "}", '{"name": "\\ud800"}', "{", "null"])
def test_prompt_configurations_that_are_not_json(prompt, content):
    (prompt / "config.json").write_text(content)
    assert "config.json" in user_error(lambda: SafetyPrompt.from_pretrained(prompt))


def test_a_card_that_is_not_utf_8(prompt):
    (prompt / "README.md").write_bytes(b"caf\xe9")
    assert "README.md: byte 3 of the file is not UTF-8" in user_error(lambda: SafetyPrompt.from_pretrained(prompt))


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.int32, torch.bool, torch.complex64])
def test_theta_of_another_kind(prompt, dtype):
    tensors, texts, _ = read_tensors(prompt / "model.safetensors")
    write_tensors(prompt / "model.safetensors", {"theta": tensors["theta"].to(dtype)}, texts)
    if dtype == torch.float8_e4m3fn:
        assert SafetyPrompt.from_pretrained(prompt).theta.dtype == torch.float32
    else:
        assert "damaged" in user_error(lambda: SafetyPrompt.from_pretrained(prompt))


@pytest.mark.parametrize(
    "text",
    [
        "seed = " + "9" * 5000,
        "seed = 0x" + "f" * 5000,
        "a = " + "[" * 3000 + "]" * 3000,
        ".".join(["a"] * 3000) + " = 1",
        "x = " + "{a = " * 400 + "1" + "}" * 400,
        "seed = " + "9" * 4000,
        "d = 1979-99-99",
        'preset = "\0"',
    ],
)
def test_toml_that_python_cannot_handle(tmp_path, text):
    (tmp_path / "a.toml").write_text(text)
    said = user_error(lambda: load_settings({"model": "demo"}, tmp_path / "a.toml"))
    assert "a.toml" in said and len(said) < 1000


def test_a_prompt_with_a_lone_surrogate(folders, tmp_path):
    # As Python decodes the byte 0xFF of an argument.
    sentence = fail(
        "defend", folders("llama"), "--languages", "en,da", "--prompt", "safe\udcff", "--output", tmp_path / "out"
    )
    assert "surrogate" in sentence or "UTF-8" in sentence
    assert not (tmp_path / "out").exists()


def test_names_with_control_characters_stay_on_one_line(tmp_path):
    said = user_error(lambda: load_settings({}, tmp_path / "a\nb\x1b[31m.toml"))
    assert r"a\u000ab\u001b[31m.toml" in said
    assert str(UserError("a\nb")) == r"a\u000ab"


def test_links_to_themselves(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for line in (["evaluate", tmp_path / "loop", "--benchmark", "babelguard-corpus"], ["chat", tmp_path / "loop"]):
        assert invoke(*line).exit_code == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[objective.weights]\nrefusal = true", "true and false are not allowed here"),
        ("[training]\nsteps = true", "true and false are not allowed here"),
        ('trust_remote_code = "yes"', "write true or false"),
        ("trust_remote_code = 1", "write true or false"),
    ],
)
def test_truth_values_are_not_numbers(tmp_path, text, message):
    (tmp_path / "a.toml").write_text(text)
    assert message in user_error(lambda: load_settings({"model": "demo"}, tmp_path / "a.toml"))


def test_a_prompt_beside_a_foreign_configuration(prompt):
    # A folder around the prompt that is not a run.
    (prompt.parent / "config.json").write_text("// settings of an editor")
    found = read_prompt(str(prompt))
    assert found is not None and found[1] == {}
