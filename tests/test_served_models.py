"""`babelguard evaluate URL`: models at a server that fails in the ways a test asks for."""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from pathlib import Path

import pytest
from calls import fail, succeed, tree
from served import KEY, Server, chat, serve

from babelguard.defences.served import ServedModel
from babelguard.defences.written import WRITTEN_PROMPTS
from babelguard.endpoint import Client, Names, Retry
from babelguard.errors import UserError
from babelguard.evaluation.reply_length import estimated_budgets, reply_budgets
from babelguard.jobs import evaluate as job
from babelguard.jobs import served_subject
from babelguard.models.load import load_tokenizer
from babelguard.targets.endpoint import Answered, Endpoint

NAMES = Names("model", "target", "endpoint", served_subject.KEYS)
REFUSAL, ANSWER = "I cannot help with that.", "Sure. First, take a large bowl and mix flour with water."


@pytest.fixture(autouse=True)
def no_keys(monkeypatch):
    for name in served_subject.KEYS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def quick(monkeypatch):
    """Pause for hundredths of a second."""

    def client(url, setting, timeout, patience, screen):
        names = NAMES._replace(url=setting)
        return Client(url, names, retry=Retry(3, 0.01, patience), timeout=timeout, say=screen.say)

    monkeypatch.setattr(served_subject, "open_client", client)


@pytest.fixture
def server():
    with serve() as running:
        running.models = ["soft"]
        running.behave = reply
        yield running


@pytest.fixture
def call(server, tmp_path, monkeypatch, quick):
    """Return a function that builds the arguments of an evaluation of six requests."""
    monkeypatch.chdir(tmp_path)
    lines = [
        f"{k},{'harmful' if k % 2 else 'harmless'},How do I do thing {k}?,Hvordan gør jeg ting {k}?" for k in range(3)
    ]
    (tmp_path / "mine.csv").write_text("id,label,en,da\n" + "\n".join(lines) + "\n")

    def build(*more, url=None, model="soft"):
        given = ["evaluate", url or server.url, "--prompts", "mine.csv", "--judge", "patterns"]
        return [*given, *(["--model", model] if model else []), "--output", "out", *more]

    return build


def question(body):
    return body["messages"][-1]["content"]


def reply(body, number):
    """Refuse the rows with an odd number."""
    text = question(body)
    if text == "Hello":
        return chat("Hi", model=body["model"])
    return chat(REFUSAL if "1" in text else ANSWER, model=body["model"])


def first(behave):
    """Behave like this for the requests after the first one, which asks for one token."""
    return lambda body, number: reply(body, number) if question(body) == "Hello" else behave(body, number)


def rows(folder="out"):
    """Return the lines of the log."""
    path = Path(folder) / "generations.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def asked(server):
    """Return the questions that the server got, without the first request."""
    return [text for body in server.bodies if (text := question(body)) != "Hello"]


def target(server, concurrency=4, answered=None, **given):
    retry = Retry(given.pop("tries", 3), 0.01, given.pop("patience", 0.0))
    client = Client(server.url, NAMES, retry=retry, timeout=given.pop("timeout", 5), **given)
    return Endpoint(client, {"soft": answered or Answered("soft", None)}, concurrency=concurrency)


def ask(server, count=1, known=(), **given):
    """Ask questions, and return the replies by place."""
    found = {}
    target(server, **given).replies(
        ServedModel("soft"),
        [f"question {k}" for k in range(count)],
        tokens=[8] * count,
        done=lambda pairs: found.update(pairs),
        known=known,
        names=[f"row-{k} (en)" for k in range(count)],
    )
    return found


def refused(call):
    with pytest.raises(UserError) as caught:
        call()
    assert str(caught.value).endswith(".") and KEY not in str(caught.value)
    return str(caught.value)


def test_an_evaluation(call, server):
    said = succeed(*call())
    assert "'soft' is served" in said and "estimated; they are exact with --tokenizer" in said
    metrics = json.loads(Path("out/metrics.json").read_text())
    assert [(row["defence"], row["language"], row["model"]) for row in metrics["rows"]] == [
        ("soft", "en", "soft"),
        ("soft", "da", "soft"),
    ]
    english = metrics["rows"][0]
    assert english["attack_success"]["n"] == 1 and english["attack_success"]["k"] == 0
    assert english["false_refusal"]["n"] == 2 and english["false_refusal"]["k"] == 0
    body = next(body for body in server.bodies if question(body) == "How do I do thing 0?")
    assert body == {
        "model": "soft",
        "messages": [{"role": "user", "content": "How do I do thing 0?"}],
        "temperature": 0,
        "max_tokens": 32,
        "seed": 0,
    }
    danish = next(body for body in server.bodies if "Hvordan" in question(body))
    assert danish["max_tokens"] == estimated_budgets(["da"], 32)["da"] > 32
    # The same command asks for the first token only.
    before, count = tree(Path("out")), len(server.bodies)
    succeed(*call())
    assert len(server.bodies) == count + 1 and tree(Path("out")) == before
    # The replies are judged again without the server.
    assert "soft" in succeed("judge", "out", "--judge", "patterns")


def test_two_models_and_a_written_prompt_are_compared(call, server):
    server.models = ["base", "soft"]
    server.behave = lambda body, number: (
        chat(ANSWER, model=body["model"])
        if body["model"] == "base" and len(body["messages"]) == 1
        else reply(body, number)
    )
    succeed(*call("--model", "soft", "--defence", "written", model="base"))
    metrics = json.loads(Path("out/metrics.json").read_text())
    names = ["base", "base + written", "soft", "soft + written"]
    assert list(dict.fromkeys(row["defence"] for row in metrics["rows"])) == names
    assert {row["defence"]: row["attack_success"]["k"] for row in metrics["rows"]} == dict(
        zip(names, [1, 0, 0, 0], strict=True)
    )
    assert {(one["a"], one["b"]) for one in metrics["differences"]} == {(name, "base") for name in names[1:]}
    systems = {body["messages"][0]["content"] for body in server.bodies if len(body["messages"]) == 2}
    assert systems == {WRITTEN_PROMPTS["medium"]}
    # A model that is added later leaves the others as they are.
    count = len(server.bodies)
    server.models.append("other")
    succeed(*call("--model", "soft", "--defence", "written", "--model", "other", model="base"))
    assert {body["model"] for body in server.bodies[count:] if question(body) != "Hello"} == {"other"}


def test_the_only_model_need_not_be_named(call, server):
    assert "'soft' is served" in succeed(*call(model=None))
    server.models = ["a", "b"]
    assert "serves several models (a, b); set --model" in fail(*call(model=None))
    server.models = None
    assert "does not list its models; set --model" in fail(*call(model=None))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--defence", "none"], "measured as it is"),
        (["--defence", "runs/mine"], "cannot be sent to a server; export the safety prompt"),
        (["--batch-size", 4], "--batch-size cannot be used with a URL"),
        (["--revision", "x", "--trust-remote-code"], "--revision and --trust-remote-code cannot"),
        (["--tokenizer", "nowhere/at-all"], "no tokenizer in nowhere/at-all"),
    ],
)
def test_options_that_do_not_fit_a_url(call, server, more, words):
    assert words in fail(*call(*more))
    assert not asked(server) and not rows()


@pytest.mark.parametrize("model", ["", " ", "a\nb", "\x1b[2J"])
def test_names_that_cannot_be_shown(call, server, model):
    assert "is not the name of a model" in fail(*call("--model", model))
    server.models = [model]
    server.behave = lambda *_: chat("Hi", model=f"{model}\x07")
    assert "is not the name of a model" in fail(*call(model=None))
    assert "\x1b" not in succeed(*call()) and not asked(server)[6:]


def test_a_name_that_is_taken(call):
    assert "remove one --model" in fail(*call("--model", "a + written", "--defence", "written", model="a"))


def test_options_that_need_a_url(call, tmp_path):
    sentence = fail(*call("--concurrency", 2, "--timeout", 3, url=tmp_path / "model"))
    assert "--concurrency and --timeout cannot be used with a model in this process" in sentence
    assert "give --model once" in fail(*call("--model", "b", url=tmp_path / "model"))


def test_replies_belong_to_their_questions_and_are_asked_for_in_parallel(server):
    """Four requests are answered only when all four have arrived, and the first one last."""
    all_four = threading.Barrier(4, timeout=5)

    def behave(body, number):
        all_four.wait()
        time.sleep(0.05 * (question(body) in ("question 0", "question 4")))
        return chat(f"reply to {question(body)}", model="soft")

    server.behave = behave
    found = ask(server, 8)
    assert {k: one.text for k, one in found.items()} == {k: f"reply to question {k}" for k in range(8)}
    assert list(found)[:4] != [0, 1, 2, 3]  # passed on as they arrive


def test_known_replies_are_not_asked_for(server):
    assert sorted(ask(server, 4, known={1, 2})) == [0, 3]
    assert sorted(asked(server)) == ["question 0", "question 3"]


@pytest.mark.parametrize(
    ("body", "text", "finished"),
    [
        (chat("Hi"), "Hi", True),
        (chat("Hi", "length"), "Hi", False),
        (chat(None), "", True),
        (chat(""), "", True),
        (chat(None, refusal="No."), "No.", True),
        (chat("Hi", reasoning_content="Let me"), "<think>Let me</think>Hi", True),
        (chat("Hi", reasoning="a </think> b"), "<think>a  b</think>Hi", True),
        (chat(None, "length", reasoning_content="Let me"), "<think>Let me", False),
        (chat("", "stop", reasoning_content="Let me"), "<think>Let me</think>", True),
        (chat([{"type": "thinking", "thinking": "x"}, {"type": "text", "text": "Hi"}]), "Hi", True),
        (chat("Half of", "content_filter"), "[refused by the content filter of the server]", True),
        ((400, {"error": {"code": "content_filter"}}, {}), "[refused by the content filter of the server]", True),
        ((403, {"error": {"message": "flagged_input"}}, {}), "[refused by the content filter of the server]", True),
    ],
)
def test_what_is_logged_as_the_reply(server, body, text, finished):
    server.behave = lambda *_: body
    assert ask(server)[0][:2] == (text, finished)
    assert len(server.bodies) == 1


def test_a_filtered_request_is_a_refusal_and_a_thought_is_not_judged(call, server):
    server.behave = first(
        lambda body, _: (
            chat(None, "content_filter")
            if "1" in question(body)
            else chat(None, "length", reasoning_content=f"{REFUSAL} But")
        )
    )
    succeed(*call())
    english = json.loads(Path("out/metrics.json").read_text())["rows"][0]
    assert english["attack_success"]["n"] == 1 and english["attack_success"]["k"] == 0
    assert english["false_refusal"]["unscored"] == 2


@pytest.mark.parametrize(
    "fault", [(500, {}, {}), (408, {}, {}), "close", "half", b"<html>", b"{", {}, chat({"a": 1}), b"null"]
)
def test_temporary_failures_are_repeated(server, fault):
    server.behave = lambda body, number: fault if number < 2 else chat("Hi")
    assert ask(server)[0].text == "Hi"
    assert len(server.bodies) == 3


@pytest.mark.parametrize("fault", [(500, {"error": {"message": "made to fail"}}, {}), "close", b"<html>"])
def test_a_request_that_always_fails_names_its_row(server, fault):
    server.behave = lambda body, _: fault if question(body) == "question 1" else chat("Hi")
    sentence = refused(lambda: ask(server, 3, concurrency=1))
    assert "failed 3 times on row row-1 (en)" in sentence and "finished replies are kept" in sentence


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_given_the_time_that_it_asks_for(server, status):
    times = []

    def behave(body, number):
        times.append(time.monotonic())
        return (status, {}, {"Retry-After": "0.3"}) if number == 0 else chat("Hi")

    server.behave = behave
    assert ask(server, patience=10)[0].text == "Hi"
    assert times[1] - times[0] >= 0.3


def test_a_busy_server_does_not_use_up_the_tries(server):
    server.behave = lambda body, number: (429, {}, {}) if number < 5 else chat("Hi")
    assert ask(server, tries=1, patience=10)[0].text == "Hi"


def test_a_pause_that_is_longer_than_the_patience_ends_at_once(server):
    server.behave = lambda *_: (429, {"error": {"message": "slow down"}}, {"Retry-After": "3000"})
    start = time.monotonic()
    assert "did not come back in time (the endpoint returned status 429: slow down)" in refused(
        lambda: ask(server, patience=5)
    )
    assert time.monotonic() - start < 3 and len(server.bodies) == 1


def test_a_time_out(server):
    server.behave = lambda *_: "hang"
    assert "failed 2 times on row row-0 (en) (no answer of the endpoint within 0.2 seconds)" in refused(
        lambda: ask(server, tries=2, timeout=0.2)
    )


def test_a_server_that_dies_and_comes_back_in_time():
    """The server is gone after two replies. The client says so and waits, and no reply is lost or asked for twice."""
    server, gone, back, said, found = Server(), threading.Event(), threading.Event(), [], []

    def behave(body, number):
        if number == 2:
            gone.set()
        return "close" if gone.is_set() and not back.is_set() else chat(f"reply to {question(body)}")

    server.behave = behave
    with serve(server) as running:
        client = Client(running.url, NAMES, retry=Retry(3, 0.01, 30.0), timeout=5, say=said.append)
        ours, questions = (
            Endpoint(client, {"soft": Answered(None, None)}, concurrency=1),
            [f"question {k}" for k in range(5)],
        )
        given = {"tokens": [8] * 5, "done": found.extend}
        work = threading.Thread(target=ours.replies, args=(ServedModel("soft"), questions), kwargs=given)
        work.start()
        assert gone.wait(5)
    while not said and work.is_alive():
        time.sleep(0.01)
    assert "does not answer" in said[0] and "waiting for it for up to 30 seconds" in said[0]
    back.set()
    with serve(server, server.port):
        work.join(20)
    assert [(k, one.text) for k, one in found] == [(k, f"reply to question {k}") for k in range(5)]
    assert said[1:] == [f"{client.host} answers again."]
    assert asked(server) == ["question 0", "question 1", "question 2", "question 2", "question 3", "question 4"]


def test_a_server_that_dies_ends_the_command_and_the_same_command_goes_on(call, server):
    """Three of six replies arrive. Then the server is gone, and comes back on another port."""
    with serve() as dying:
        dying.models = ["soft"]

        def behave(body, number):
            return "close" if number > 3 else reply(body, number)

        dying.behave = behave
        sentence = fail(*call("--concurrency", 1, "--patience", 0.2, url=dying.url))
    assert "finished replies are kept" in sentence and "run the same command again" in sentence
    assert len(rows()) == 3
    done = {row["question"] for row in rows()}
    succeed(*call())
    assert len(rows()) == 6 and not done & set(asked(server)) and len(asked(server)) == 3
    assert len({row["key"] for row in rows()}) == 6


def test_a_server_that_stays_away():
    closed = Server()
    with serve(closed):
        pass
    # It was reached before, so it is not a wrong address.
    given = target(closed, patience=0.2)
    given.client._reached = True
    sentence = refused(lambda: given.replies(ServedModel("soft"), ["q"], tokens=[8], done=print, names=["a (en)"]))
    assert "did not come back in time" in sentence and "start it, then run the same command again" in sentence


def test_nothing_at_the_address(call):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    sentence = fail(*call(url=f"http://user:{KEY}@127.0.0.1:{port}/v1"))
    assert sentence.startswith(f"Error: Cannot connect to 127.0.0.1:{port} (") and "check TARGET" in sentence
    assert KEY not in sentence


def test_replies_on_their_way_are_kept_when_another_request_fails(server):
    """The second request is refused while the first one is still being answered."""
    refused_one = threading.Event()

    def behave(body, number):
        if question(body) == "question 1":
            refused_one.set()
            return (400, {"error": {"message": "no such role"}}, {})
        refused_one.wait(5)
        time.sleep(0.1)
        return chat("Hi")

    server.behave, found = behave, {}
    with pytest.raises(UserError, match=r"does not accept row 2 for 'soft' \(.*no such role\)"):
        target(server, 2).replies(
            ServedModel("soft"), ["question 0", "question 1"] + ["more"] * 50, tokens=[8] * 52, done=found.update
        )
    assert 0 in found and len(server.bodies) < 10


def test_a_failure_ends_the_pauses_of_other_requests(server):
    both, start = threading.Barrier(2, timeout=5), time.monotonic()

    def behave(body, number):
        both.wait()
        if question(body) == "question 0":
            return (429, {}, {"Retry-After": "60"})
        time.sleep(0.3)
        return (400, {"error": {"message": "no such role"}}, {})

    server.behave = behave
    assert "does not accept row row-1 (en)" in refused(lambda: ask(server, 30, concurrency=2, patience=100))
    assert time.monotonic() - start < 30 and len(server.bodies) == 2


def test_a_prompt_that_is_too_long_names_its_row(call, server):
    message = "This model's maximum context length is 64 tokens. However, your messages resulted in 90 tokens."
    server.behave = first(
        lambda body, n: (400, {"error": {"message": message}}, {}) if "2" in question(body) else reply(body, n)
    )
    sentence = fail(*call())
    assert (
        "Row 2 (en) does not fit into the context of 'soft' (the endpoint returned status 400: This model" in sentence
    )


@pytest.mark.parametrize(
    ("status", "key", "words"),
    [
        (401, "", "requires a key (status 401); set BABELGUARD_API_KEY or OPENAI_API_KEY"),
        (401, KEY, "does not accept the key (status 401); check BABELGUARD_API_KEY or OPENAI_API_KEY"),
        (
            404,
            "",
            "does not know the model 'soft' or the URL (status 404); it serves base, other; check --model and TARGET",
        ),
        (307, "", "redirects to another URL (status 307); set TARGET to that URL"),
        (500, "", "does not answer a first request to 'soft'"),
    ],
)
def test_failures_before_the_first_reply_write_nothing(call, server, monkeypatch, tmp_path, status, key, words):
    monkeypatch.setenv("BABELGUARD_API_KEY", key)
    server.models = ["base", "other"]
    server.behave = lambda *_: (status, {"error": {"message": f"bad {key}"}}, {"Location": "http://127.0.0.1:1/"})
    assert words in fail(*call())
    assert not (tmp_path / "out").exists()


def test_the_first_of_two_keys_is_sent(call, server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-other")
    monkeypatch.setenv("BABELGUARD_API_KEY", f" {KEY}\n")
    succeed(*call())
    assert {headers["authorization"] for headers in server.headers} == {f"Bearer {KEY}"}


def test_secrets_are_never_written_or_shown(call, server, monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("BABELGUARD_API_KEY", KEY)
    caplog.set_level("INFO")
    url = server.url.replace("http://", "http://someone:hidden-password@") + "?key=hidden-in-the-query"
    said = succeed(*call(url=url))
    assert {path.partition("?")[2] for path in server.paths} == {"key=hidden-in-the-query"}
    assert {path.partition("?")[0] for path in server.paths} == {"/v1/chat/completions"}
    assert all(headers["authorization"].startswith("Basic ") for headers in server.headers)
    server.behave = lambda *_: (400, {"error": {"message": f"{KEY} hidden-password hidden-in-the-query"}}, {})
    sentence = fail(*call("--reply-tokens", 40, "--output", "other", url=url))
    texts = [said, sentence, caplog.text, *(str(path) for path in tmp_path.rglob("*"))]
    texts += [path.read_bytes().decode("utf-8", "replace") for path in tmp_path.rglob("*") if path.is_file()]
    for secret in (KEY, "hidden-password", "hidden-in-the-query", "someone", "127.0.0.1"):
        assert not any(secret in text for text in texts[3:]), secret
        assert secret == "127.0.0.1" or not any(secret in text for text in texts[:3])


def test_a_server_that_calls_the_model_by_another_name(call, server):
    server.behave = lambda body, number: chat(REFUSAL, model="llama-3.gguf")
    server.models = ["llama-3.gguf"]
    said = succeed(*call())
    assert "'soft' is served as 'llama-3.gguf'. The server lists no such model, only llama-3.gguf" in said
    assert json.loads(Path("out/served.json").read_text()) == {
        "models": {"soft": {"model": "llama-3.gguf", "system_fingerprint": None}}
    }
    server.behave = lambda body, number: chat(REFUSAL, model="other.gguf")
    assert "called it 'llama-3.gguf', and this one calls it 'other.gguf'" in fail(*call())


def test_a_server_that_changes_its_model_ends_the_command(call, server):
    server.behave = lambda body, number: chat(ANSWER, model="one" if number < 3 else "two")
    sentence = fail(*call("--concurrency", 1))
    assert "has changed its model from 'one' to 'two'; finished replies are kept" in sentence
    assert len(rows()) == 2


def test_the_system_fingerprint_is_part_of_the_key_and_of_the_log(call, server):
    made = iter(["a", *["a"] * 3, *["b"] * 3, "b", "c", "a"])
    server.behave = lambda body, number: chat(ANSWER, model="soft", fingerprint=next(made))
    said = succeed(*call("--concurrency", 1))
    assert "The system fingerprint of 'soft' has changed from a to b" in said
    assert [row["system_fingerprint"] for row in rows()] == ["a"] * 3 + ["b"] * 3
    succeed(*call())  # b is known from the log
    assert "system fingerprint was a and is c" in fail(*call())
    succeed(*call())
    assert len(rows()) == 6


def test_keys_of_replies(server):
    def key(model="soft", system=None, question="q", tokens=8, fingerprint=None, url="http://127.0.0.1:1/v1"):
        one = Endpoint(Client(url, NAMES), {"soft": Answered("a", fingerprint), "base": Answered("b", fingerprint)})
        return one.key(ServedModel(model, system), question, tokens)

    # The same model at another address is the same model.
    assert key() == key(url="https://example.org/other/v1")
    others = [key("base"), key(system="Be kind."), key(question="p"), key(tokens=9), key(fingerprint="f")]
    assert len({key(), *others}) == 6


def test_parameters_that_the_server_does_not_support(call, server):
    def behave(body, number):
        for name in ("seed", "temperature", "max_tokens"):
            if name in body:
                return 400, {"error": {"message": f"Unsupported parameter: '{name}'"}}, {}
        return reply(body, number)

    server.behave = behave
    assert "does not support temperature, so its replies are sampled" in succeed(*call())
    assert server.bodies[-1].keys() == {"model", "messages", "max_completion_tokens"}


@pytest.mark.parametrize(
    "url", ["ftp://host/v1", "http://", "http://host:port/v1", f"http://a:{KEY}@host:x/v1?key={KEY}"]
)
def test_an_invalid_url(call, url):
    sentence = fail(*call(url=url))
    assert "is not a URL; use one such as http://127.0.0.1:8000/v1" in sentence and KEY not in sentence


def test_the_client_library_is_missing(call, monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    assert "pip install 'babelguard[endpoint]'" in fail(*call())


def test_a_full_disk_ends_the_requests(server):
    def full(pairs):
        raise UserError("The disk is full.")

    with pytest.raises(UserError, match="disk is full"):
        target(server, 2).replies(ServedModel("soft"), ["q"] * 100, tokens=[8] * 100, done=full)
    time.sleep(0.1)
    assert len(server.bodies) < 10


def test_lengths_are_exact_with_the_tokenizer(call, server, folders):
    succeed(*call("--tokenizer", folders("llama")))
    exact = next(body for body in server.bodies if "Hvordan" in question(body))["max_tokens"]
    assert exact == reply_budgets(load_tokenizer(str(folders("llama"))), ["da"], 32)["da"]
    assert "other options" in fail(*call())  # the estimated lengths are others
    assert exact != estimated_budgets(["da"], 32)["da"]


def test_estimated_lengths():
    found = estimated_budgets(["en", "da", "ko", "th", "qq"], 32)
    assert found["en"] == 32 < found["da"] < found["th"] == found["qq"] == 128
    assert job.CONCURRENCY == 8
