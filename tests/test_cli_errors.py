"""Every bad input ends in one sentence on stderr and exit code 2, without a traceback."""

from __future__ import annotations

import errno
import json
import shutil

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
    is_empty: "no config.json",
    is_missing: "is no model folder",
    is_file: "is no model folder",
    has_broken_configuration: "could not be loaded as a causal chat model",
    is_encoder_decoder: "is an encoder-decoder model",
    is_embedding_model: "does not write text",
    is_sentence_transformer: "does not write text",
    is_recurrent: "Models of type 'mamba' keep",
    has_no_template: "no chat template",
    has_cut_weights: "could not be loaded",
    has_broken_tokenizer: "could not be loaded",
}


@pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
def test_models_that_cannot_be_defended(make, files, tmp_path, library_warnings):
    (tmp_path / "model").mkdir()
    model = make(tmp_path / "model")
    library_warnings.clear()  # of the classes that the test itself uses to write the folder
    given = ["--corpus", files / "corpus.csv", "--languages", "en,da", "--output", tmp_path / "run"]
    assert MODELS[make] in fail("defend", model, *given)
    assert not (tmp_path / "run").exists()


def test_a_hub_name_without_a_network(files):
    assert "neither a folder here" in fail(
        "defend", "nobody/nothing", "--corpus", files / "corpus.csv", "--languages", "en,da"
    )


OPTIONS = {
    "unknown language": (["--languages", "en,kr"], "did you mean 'ko' (Korean)?"),
    "a language that the corpus lacks": (["--languages", "en,fr"], "have the language 'fr'"),
    "test language that the corpus lacks": (["--test-languages", "fr"], "have the language 'fr'"),
    "a language twice": (["--languages", "en,en"], "named twice"),
    "no language": (["--languages", ","], "at least one language"),
    "one language for the live loss": (
        ["--languages", "en", "--preset", "mcd-paper"],
        "at least two training languages",
    ),
    "unknown preset": (["--preset", "mdc"], "no preset 'mdc'"),
    "unknown dtype": (["--dtype", "float12"], "'dtype'"),
    "unusable device": (["--device", "cuda:99"], "cannot be used on this machine"),
    "nonsense device": (["--device", "toaster"], "cannot be used on this machine"),
    "missing settings": (["--config", "missing.toml"], "does not exist"),
    "settings are a folder": (["--config", "."], "cannot be read"),
    "missing corpus": (["--corpus", "missing.csv"], "missing.csv"),
    "missing run to reuse": (["--reuse", "missing"], "generations.jsonl"),
    "test languages chosen": (["--test-languages", "auto:2"], "name the languages to test"),
    "a start that is not known yet": (["--start", "best"], "choose long, medium, short"),
    "empty start": (["--start", " "], "is empty"),
    "a start without training": (["--start", "short", "--steps", "0"], "nothing is trained"),
    "empty prompt": (["--prompt", ""], "is empty"),
    "long prompt": (["--prompt", "word " * 400, "--prompt-length", 512], "shorter --prompt"),
}


@pytest.mark.parametrize("wrong", OPTIONS)
def test_options_that_cannot_be_meant(wrong, command, tmp_path, folders):
    more, said = OPTIONS[wrong]
    if wrong == "long prompt":
        tiny.save_family("llama", tmp_path / "model", max_position_embeddings=600)
        line = command("llama", tmp_path / "run", *more)
        line[1] = tmp_path / "model"
    else:
        line = command("llama", tmp_path / "run", *more)
    assert said in fail(*line)


def test_a_settings_file_with_a_byte_order_mark_is_read(folders, files, tmp_path):
    (tmp_path / "notepad.toml").write_bytes(b"\xef\xbb\xbfsteps = 'many'\n")
    given = ["--config", tmp_path / "notepad.toml", "--corpus", files / "corpus.csv", "--languages", "en,da"]
    assert "'steps'" in fail("defend", folders("llama"), *given)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("steps = 'many'", "'steps'"),
        ("step = 3", "There is no setting 'step' in"),
        ("test_languages = 'en,kr'", "did you mean 'ko'"),
        ("learning_rate = inf", "'learning_rate'"),
        ("start = 'short'\nsteps = 0", "The settings do not go together: start has no effect"),
        ("steps = ", "not valid TOML"),
        ("refusal_weight = 0\nharmfulness_weight = 0\nbehaviour_weight = 0", "nothing would be learned"),
    ],
)
def test_settings_files_that_cannot_be_meant(folders, files, tmp_path, text, said):
    (tmp_path / "bad.toml").write_text(text)
    given = ["--config", tmp_path / "bad.toml", "--corpus", files / "corpus.csv", "--languages", "en,da"]
    assert said in fail("defend", folders("llama"), *given)


CORPORA = {
    "a cell too few": (lambda rows: rows[2].rsplit(",", 1)[0], "'ko' is missing"),
    "an empty cell": (lambda rows: rows[2].rsplit(",", 1)[0] + ',""', "is empty"),
    "a row twice": (lambda rows: rows[1].replace("harmful-0,", "harmful-99,", 1), "is that of"),
    "an id twice": (lambda rows: rows[1].replace("explain", "show"), "is that of line 2"),
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
    assert "no rows of the split 'validation'" in fail(
        "defend", folders("llama"), "--corpus", corpus, "--languages", "en,da"
    )


@pytest.mark.parametrize("split", ["test", "train"])
def test_prompts_that_are_longer_than_the_context(files, tmp_path, split):
    model = tiny.save_family("llama", tmp_path / "model", max_position_embeddings=300)
    corpus = write_corpus(tmp_path / "corpus.csv")
    long = ", ".join(["Please explain"] * 60)
    # The last row of a split: no anchor is asked it, so training itself must notice.
    corpus.write_text(
        corpus.read_text().replace(f"Please explain {split}-harmless-{'4' if split == 'train' else '2'}", long)
    )
    given = ["--config", files / "quick.toml", "--corpus", corpus, "--languages", "en,da", "--steps", 1]
    assert "does not fit into the 300 tokens" in fail("defend", model, *given, "--output", tmp_path / "run")


def test_output_folders_that_are_not_this_run(command, tmp_path):
    run = tmp_path / "run"
    succeed(*command("llama", run, "--steps", 0, "--limit", 1))
    sentence = fail(*command("llama", run, "--steps", 0, "--limit", 1, "--seed", 1))
    assert "holds another run (seed was 0 and is 1)" in sentence
    assert "model_fingerprint" in fail(*command("qwen2", run, "--steps", 0, "--limit", 1))
    (run / "config.json").write_text("[]")
    assert "is damaged" in fail(*command("llama", run, "--steps", 0, "--limit", 1))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("years of work")
    assert "no run of babelguard" in fail(*command("llama", tmp_path / "other"))
    assert "is a file, not a folder" in fail(*command("llama", tmp_path / "other" / "thesis.tex"))
    assert (tmp_path / "other" / "thesis.tex").read_text() == "years of work"


@pytest.mark.parametrize(
    "place", ["babelguard.files.os.fsync", "babelguard.method.trainer.save_file", "babelguard.jobs.run_folder.os.replace"]
)
def test_a_full_disk_loses_nothing(command, tmp_path, monkeypatch, place):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    line = command("llama", tmp_path / "run", "--limit", 1, "--steps", 3)
    monkeypatch.setattr(place, full)
    sentence = fail(*line)
    assert "No space left on device" in sentence
    assert "free some space" in sentence
    monkeypatch.undo()
    succeed(*line)
    assert (tmp_path / "run" / "metrics.json").exists()


def test_a_full_disk_anywhere_else(command, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("babelguard.jobs.defend.write_report", full)
    assert "The disk is full" in fail(*command("llama", tmp_path / "run", "--limit", 1, "--steps", 0))


def test_memory_that_does_not_suffice(command, tmp_path, monkeypatch):
    def short(*_, **__):
        raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr("babelguard.method.trainer.row_losses", short)
    assert "The memory does not suffice" in fail(*command("llama", tmp_path / "run"))
    monkeypatch.undo()
    monkeypatch.setattr("babelguard.jobs.prepare.load_chat_model", short)
    assert "The memory does not suffice" in fail(*command("llama", tmp_path / "other"))


def test_errors_that_are_faults_of_ours_are_not_hidden(command, tmp_path, monkeypatch):
    def wrong(*_, **__):
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr("babelguard.method.trainer.row_losses", wrong)
    assert isinstance(invoke(*command("llama", tmp_path / "run")).exception, RuntimeError)


@pytest.mark.parametrize(
    ("name", "said"),
    [("~nosuchuser/model", "write the path in full"), ("m" * 300, "cannot be used (File name too long)")],
)
def test_names_that_are_no_paths(files, name, said):
    assert said in fail("defend", name, "--corpus", files / "corpus.csv", "--languages", "en,da")
    assert said in fail("chat", name)


def test_characters_that_a_terminal_would_obey_are_shown(files):
    assert "\\u001b[31mred" in fail("defend", "./\x1b[31mred", "--corpus", files / "corpus.csv", "--languages", "en,da")


def test_languages_that_nobody_can_judge(folders, tmp_path):
    corpus = write_corpus(tmp_path / "corpus.csv", ("en", "cs"))
    given = ["defend", folders("llama"), "--corpus", corpus, "--prompt", "short", "--output", tmp_path / "run"]
    assert "no patterns of refusals in Czech (cs)" in fail(*given, "--languages", "en,cs")
    assert "test other languages" in fail(*given, "--languages", "en", "--preset", "dro", "--test-languages", "cs")
    said = succeed(*given, "--languages", "en", "--preset", "dro", "--dry-run")
    assert "No rates will be shown for Czech (cs)" in said


@pytest.mark.parametrize(
    ("file", "more"),
    [
        ("training/checkpoint.safetensors", ["safety_prompt", "metrics.json"]),
        ("metrics.json", []),
        ("batch_size.json", ["metrics.json"]),
    ],
)
def test_files_of_a_run_that_a_power_cut_damaged(command, small_run, tmp_path, file, more):
    run = tmp_path / "run"
    shutil.copytree(small_run, run)
    for name in more:
        shutil.rmtree(run / name) if (run / name).is_dir() else (run / name).unlink()
    (run / file).write_bytes(b"{")
    line = command("llama", run, "--limit", 1, "--steps", 1)
    assert f"{run / file} is damaged; delete that file" in fail(*line)
    (run / file).unlink()
    succeed(*line)


@pytest.fixture(scope="module")
def small_run(command, tmp_path_factory):
    folder = tmp_path_factory.mktemp("small") / "run"
    succeed(*command("llama", folder, "--limit", 1, "--steps", 1))
    return folder


def test_logs_with_a_damaged_line(command, small_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(small_run, run)
    (run / "metrics.json").unlink()
    log = run / "generations.jsonl"
    log.write_text("{broken\n" + log.read_text())
    assert "Line 1 of" in fail(*command("llama", run, "--limit", 1, "--steps", 1))


def test_prompts_that_are_damaged_or_foreign(small_run, folders, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(small_run, run)
    weights = run / "safety_prompt" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-5])
    assert "damaged" in fail("chat", run)
    assert "damaged" in fail("chat", run / "safety_prompt")
    assert "is no run and no safety prompt" in fail("chat", folders("llama"))
    assert "is no model folder" in fail("chat", tmp_path / "missing")
    shutil.rmtree(run / "safety_prompt")
    assert "is not finished" in fail("chat", run)


def test_prompts_without_their_run_need_a_model(small_run, folders, tmp_path):
    shutil.copytree(small_run / "safety_prompt", tmp_path / "prompt")
    assert "say with --model" in fail("chat", tmp_path / "prompt")
    said = succeed("chat", tmp_path / "prompt", "--model", folders("llama"), "--tokens", 2, input="Hi\n")
    assert "llama-chat with mcd" in said
    # Inside its run it knows the way.
    succeed("chat", small_run / "safety_prompt", "--tokens", 2, input="Hi\n")


def test_evaluations_that_cannot_be_done(command, small_run, folders, tmp_path):
    prompts = tmp_path / "mine.jsonl"
    prompts.write_text(json.dumps({"id": "a", "label": "harmful", "en": "How?"}))
    call = ["evaluate", small_run, "--prompts", prompts, "--device", "cpu"]
    assert "neither none, nor written" in fail(*call, "--defence", "nothing")
    assert "the same name and seed" in fail(*call, "--defence", small_run)
    assert "have the language 'da'" in fail(*call, "--languages", "da")
    written = tmp_path / "written"
    succeed(*command("llama", written, "--preset", "written", "--steps", 0, "--limit", 1))
    assert "leave --defence written out" in fail("evaluate", written, *call[2:], "--defence", "written")
    assert "float12" in fail(*call, "--dtype", "float12")
    assert "missing.csv" in fail("evaluate", small_run, "--prompts", tmp_path / "missing.csv")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes").write_text("mine")
    assert "no evaluation" in fail(*call, "--output", tmp_path / "full")
    prompts.write_text(json.dumps({"id": "a", "label": "harmful", "en": "How? " * 3000}))
    assert "does not fit into the 1024 tokens" in fail(*call, "--output", tmp_path / "long")


def test_columns_that_nobody_can_judge_are_named_first(small_run, tmp_path):
    prompts = tmp_path / "mine.jsonl"
    prompts.write_text(json.dumps({"id": "a", "label": "harmful", "en": "How?", "cs": "Jak?"}))
    call = ["evaluate", small_run, "--prompts", prompts, "--device", "cpu", "--reply-tokens", 4]
    assert "No rates will be shown for Czech (cs)" in succeed(*call, "--output", tmp_path / "out")
