"""Mistakes in models, options, settings files and corpora end in one sentence on stderr and exit code 2."""

from __future__ import annotations

import pytest
import tiny
from calls import fail, invoke, succeed, write_corpus
from transformers import BertConfig, MambaConfig, MambaForCausalLM, T5Config

pytestmark = pytest.mark.usefixtures("judge_of_bytes")


def is_empty(tmp_path):
    return tmp_path


def is_missing(tmp_path):
    return tmp_path / "missing"


def is_file(tmp_path):
    (tmp_path / "file").write_text("weights")
    return tmp_path / "file"


def has_broken_configuration(tmp_path):
    (tmp_path / "config.json").write_text("{")
    return tmp_path


def is_encoder_decoder(tmp_path):
    T5Config(architectures=["T5ForConditionalGeneration"]).save_pretrained(tmp_path)
    return tmp_path


def is_embedding_model(tmp_path):
    BertConfig(architectures=["BertModel"]).save_pretrained(tmp_path)
    return tmp_path


def is_sentence_transformer(tmp_path):
    (tmp_path / "modules.json").write_text("[]")
    return tiny.save_family("qwen3", tmp_path)


def is_recurrent(tmp_path):
    tokenizer = tiny.make_tokenizer(tiny.FAMILIES["qwen3"])
    given = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id, "bos_token_id": None}
    config = MambaConfig(vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, state_size=4, **given)
    MambaForCausalLM(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    return tmp_path


def has_no_template(tmp_path):
    tiny.save_family("llama", tmp_path)
    (tmp_path / "chat_template.jinja").unlink()
    return tmp_path


def has_cut_weights(tmp_path):
    tiny.save_family("llama", tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-9])
    return tmp_path


def has_broken_tokenizer(tmp_path):
    tiny.save_family("llama", tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    return tmp_path


MODELS = {
    is_empty: "contains no model",
    is_missing: "is not a model folder",
    is_file: "is not a model folder",
    has_broken_configuration: "config.json is damaged",
    is_encoder_decoder: "is an encoder-decoder model",
    is_embedding_model: "does not generate text",
    is_sentence_transformer: "does not generate text",
    is_recurrent: "Models of type 'mamba' keep",
    has_no_template: "no chat template",
    has_cut_weights: "model.safetensors is damaged",
    has_broken_tokenizer: "could not be loaded",
}


@pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
def test_models_that_cannot_be_defended(make, files, tmp_path, library_warnings):
    (tmp_path / "model").mkdir()
    model = make(tmp_path / "model")
    library_warnings.clear()  # warnings from writing the folder
    given = ["--corpus", files / "corpus.csv", "--languages", "en,da", "--output", tmp_path / "run"]
    assert MODELS[make] in fail("defend", model, *given)
    assert not (tmp_path / "run").exists()


def test_a_hub_name_without_a_network(files):
    assert "neither a local folder" in fail(
        "defend", "nobody/nothing", "--corpus", files / "corpus.csv", "--languages", "en,da"
    )


OPTIONS = {
    "unknown language": (["--languages", "en,kr"], "did you mean 'ko' (Korean)?"),
    "a language that the corpus lacks": (["--languages", "en,fr"], "have the language 'fr'"),
    "test language that the corpus lacks": (["--test-languages", "fr"], "have the language 'fr'"),
    "a language twice": (["--languages", "en,en"], "listed twice"),
    "no language": (["--languages", ","], "at least one language"),
    "one language for the alignment loss": (
        ["--languages", "en", "--preset", "mcd-paper"],
        "at least two training languages",
    ),
    "unknown preset": (["--preset", "mdc"], "no preset 'mdc'"),
    "unknown dtype": (["--dtype", "float12"], "The setting --dtype is not valid"),
    "device that does not exist": (["--device", "cuda:99"], "cannot be used on this machine"),
    "unknown device": (["--device", "toaster"], "cannot be used on this machine"),
    "missing settings": (["--config", "missing.toml"], "does not exist"),
    "settings are a folder": (["--config", "."], "cannot be read"),
    "missing corpus": (["--corpus", "missing.csv"], "missing.csv"),
    "missing run to reuse": (["--reuse", "missing"], "generations.jsonl"),
    "test languages chosen automatically": (["--test-languages", "auto:2"], "list the test languages"),
    "a start that is not known before training": (["--start", "best"], "choose long, medium, short"),
    "empty start": (["--start", " "], "is empty"),
    "a start without training": (
        ["--start", "short", "--steps", "0"],
        "--start has no effect without training (--steps is 0)",
    ),
    "empty prompt": (["--prompt", ""], "is empty"),
    "unknown judge": (["--judge", "nobody"], "There is no judge named 'nobody'; available: default, encoder,"),
    "long prompt": (["--prompt", "word " * 400, "--prompt-length", 512], "use a shorter --prompt or --prompt-length"),
}


@pytest.mark.parametrize("wrong", OPTIONS)
def test_options_with_mistakes(wrong, command, tmp_path, folders):
    more, said = OPTIONS[wrong]
    if wrong == "long prompt":
        tiny.save_family("llama", tmp_path / "model", max_position_embeddings=600)
        line = command("llama", tmp_path / "run", *more)
        line[1] = tmp_path / "model"
    else:
        line = command("llama", tmp_path / "run", *more)
    assert said in fail(*line)


def test_a_settings_file_with_a_byte_order_mark_is_read(folders, files, tmp_path):
    (tmp_path / "notepad.toml").write_bytes(b"\xef\xbb\xbf[training]\nsteps = 'many'\n")
    given = ["--config", tmp_path / "notepad.toml", "--corpus", files / "corpus.csv", "--languages", "en,da"]
    assert "The setting 'training.steps' in" in fail("defend", folders("llama"), *given)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[training]\nsteps = 'many'", "The setting 'training.steps' in"),
        ("step = 3", "There is no setting 'step' in"),
        ("[training]\nstep = 3", "There is no setting 'training.step' in"),
        ("[evaluation]\nlanguages = 'en,kr'", "did you mean 'ko'"),
        ("[training]\nlearning_rate = inf", "The setting 'training.learning_rate' in"),
        ("[training]\nstart = 'short'\nsteps = 0", "The settings are not consistent: --start has no effect"),
        ("steps = ", "not valid TOML"),
        ("[objective.weights]\nrefusal = 0\nharmfulness = 0\nbehaviour = 0", "nothing would be learned"),
        ("[objective.weights]\nbehavior = 1", "There is no loss 'behavior'"),
        ("[objective.weights]\nrefusal = -1", "negative"),
        ("train_batch = 4", "has a new name: training.batch_size"),
        ("behaviour_weight = 4", "has a new name: objective.weights.behaviour"),
        ("alignment = 'frozen'", "has a new name: objective.weights.alignment (live)"),
    ],
)
def test_settings_files_with_mistakes(folders, files, tmp_path, text, said):
    (tmp_path / "bad.toml").write_text(text)
    given = ["--config", tmp_path / "bad.toml", "--corpus", files / "corpus.csv", "--languages", "en,da"]
    assert said in fail("defend", folders("llama"), *given)


CORPORA = {
    "a cell too few": (lambda rows: rows[2].rsplit(",", 1)[0], "'ko' is missing"),
    "an empty cell": (lambda rows: rows[2].rsplit(",", 1)[0] + ',""', "is empty"),
    "a row twice": (lambda rows: rows[1].replace("harmful-0,", "harmful-99,", 1), "is the same as"),
    "an id twice": (lambda rows: rows[1].replace("explain", "show"), "is already used in line 2"),
    "no label": (lambda rows: rows[2].replace(",harmful,", ",bad,"), "harmful or harmless"),
}


@pytest.mark.parametrize("wrong", CORPORA)
def test_corpora_with_mistakes(wrong, folders, tmp_path):
    corpus = write_corpus(tmp_path / "corpus.csv")
    rows = corpus.read_text().splitlines()
    spoil, said = CORPORA[wrong]
    rows[2] = spoil(rows)
    corpus.write_text("\n".join(rows))
    sentence = fail("defend", folders("llama"), "--corpus", corpus, "--languages", "en,da")
    assert said in sentence
    assert str(corpus) in sentence


def test_corpora_in_another_encoding_or_without_a_split(folders, tmp_path):
    corpus = write_corpus(tmp_path / "corpus.csv", ("en", "da"))
    text = corpus.read_text()
    corpus.write_bytes(text.replace("tak", "så").encode("latin-1"))
    assert "save it as UTF-8" in fail("defend", folders("llama"), "--corpus", corpus, "--languages", "en,da")
    corpus.write_text("\n".join(line for line in text.splitlines() if "validation" not in line))
    assert "no rows in the split 'validation'" in fail(
        "defend", folders("llama"), "--corpus", corpus, "--languages", "en,da"
    )


@pytest.mark.parametrize("split", ["test", "train"])
def test_prompts_that_are_longer_than_the_context(files, tmp_path, split):
    model = tiny.save_family("llama", tmp_path / "model", max_position_embeddings=300)
    corpus = write_corpus(tmp_path / "corpus.csv")
    long = ", ".join(["Please explain"] * 60)
    # The last row of a split is not an anchor, so the training stage itself must check its length.
    corpus.write_text(
        corpus.read_text().replace(f"Please explain {split}-harmless-{'4' if split == 'train' else '2'}", long)
    )
    given = ["--config", files / "quick.toml", "--corpus", corpus, "--languages", "en,da", "--steps", 1]
    assert "does not fit into the model's context of 300 tokens" in fail(
        "defend", model, *given, "--output", tmp_path / "run"
    )


def test_replies_that_are_longer_than_the_context(folders, files, tmp_path):
    given = [
        "--prompts",
        files / "corpus.csv",
        "--languages",
        "en",
        "--limit",
        1,
        "--judge",
        "patterns",
        "--device",
        "cpu",
    ]
    said = fail("evaluate", folders("llama"), *given, "--reply-tokens", 10_000_000, "--output", tmp_path / "out")
    assert "A reply of up to 10000000 tokens to row" in said and "allow shorter replies" in said


@pytest.mark.parametrize(
    ("name", "said"),
    [("~nosuchuser/model", "write the path in full"), ("m" * 300, "cannot be used (File name too long)")],
)
def test_names_that_cannot_be_paths(files, name, said):
    assert said in fail("defend", name, "--corpus", files / "corpus.csv", "--languages", "en,da")
    assert said in fail("chat", name)


def test_control_characters_are_made_visible(files):
    assert "\\u001b[31mred" in fail("defend", "./\x1b[31mred", "--corpus", files / "corpus.csv", "--languages", "en,da")


def test_languages_that_the_judge_does_not_support(folders, tmp_path):
    corpus = write_corpus(tmp_path / "corpus.csv", ("en", "cs"))
    given = ["defend", folders("llama"), "--corpus", corpus, "--prompt", "short", "--output", tmp_path / "run"]
    selecting = tmp_path / "selecting.toml"
    selecting.write_text('[selection]\njudge = "patterns"\n')
    given += ["--judge", "patterns", "--config", selecting]
    assert "does not support Czech (cs)" in fail(*given, "--languages", "en,cs")
    assert "change --test-languages" in fail(*given, "--languages", "en", "--preset", "dro", "--test-languages", "cs")
    said = succeed(*given, "--languages", "en", "--preset", "dro", "--dry-run")
    assert "does not support Czech (cs); no rates will be shown there" in said


def test_programming_errors_are_not_hidden(command, tmp_path, monkeypatch):
    def wrong(*_, **__):
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr("babelguard.method.trainer.row_losses", wrong)
    assert isinstance(invoke(*command("llama", tmp_path / "run")).exception, RuntimeError)
