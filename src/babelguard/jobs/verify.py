"""Verify that an export, as it is served, does what its base model does with the safety prompt in this process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from babelguard.config.lists import as_list
from babelguard.errors import UserError, visible
from babelguard.export.manifest import PROMPT, Manifest, check_files, read_manifest
from babelguard.files import write_text
from babelguard.jobs.logged_test import LoggedTest, read_logged_test
from babelguard.jobs.open_target import open_target
from babelguard.models.checks import chat_template_of
from babelguard.models.devices import DTYPES
from babelguard.models.load import ChatModel
from babelguard.prompt import SafetyPrompt
from babelguard.prompt.template import thinking_switch
from babelguard.screen import Screen, Silent
from babelguard.verification.checks import check_first, check_rendering, check_replies, check_reserved, check_tops
from babelguard.verification.connect import connect
from babelguard.verification.http import Http
from babelguard.verification.in_process import library_of, load_in_process
from babelguard.verification.prompts import harmless_questions, make_chats, writes_tools
from babelguard.verification.reference import make_reference
from babelguard.verification.result import Check, State, Verification
from babelguard.verification.served import Answer, Served
from babelguard.verification.table import verification_table
from babelguard.verification.tolerance import Tolerance, tolerance_of
from babelguard.verification.verdicts import ALLOWED, VERDICTS, ask_again, check_verdicts, judge_both

RESULT = "verification.json"
REPLY_TOKENS = 16


class Defended(NamedTuple):
    """A base model and its safety prompt."""

    chat: ChatModel
    prompt: SafetyPrompt


def verify(
    export: Path | str,
    *,
    url: str | None = None,
    model: str | None = None,
    run: Path | str | None = None,
    served: str | None = None,
    languages: str | Sequence[str] | None = None,
    device: str = "cpu",
    dtype: str | None = None,
    timeout: float = 300.0,
    trust_remote_code: bool = False,
    screen: Screen | None = None,
) -> Verification:
    """Compare an export with its base model and safety prompt.

    Args:
        export: Folder of the export.
        url: OpenAI-compatible server of the export. None loads the export into this process with transformers or PEFT.
        model: The base model, if it is not at its original location.
        run: Run folder of the safety prompt. The verdicts on its test rows are compared as well.
        served: Name of the model at the server, if the server has several.
        languages: Languages of the chats; default: all of the built-in corpus.
        device: See `babelguard.models.devices.choose_device`.
        dtype: Number format in which the export is served; default: that of its weights.
        timeout: Seconds to wait for a reply of the server.
        trust_remote_code: Allow model code from the hub to run.
        screen: Shows progress. Nothing is shown by default.

    Returns:
        The result, which is also written to verification.json in the folder of the export.

    Raises:
        UserError: If the export, the base model, the run or the server cannot be used.
    """
    screen = screen or Silent()
    folder = Path(export)
    manifest = read_manifest(folder, check=False)
    questions = harmless_questions(as_list(languages))
    logged = None if run is None else read_logged_test(Path(run), folder / PROMPT)
    http = None if url is None else Http(url, timeout=timeout)
    engine = library_of(folder) if http is None else f"the server {http.host}"
    # A GGUF file says its own format: its rows of the prompt are never quantised.
    number_format = dtype or str(manifest.facts.get("type", manifest.dtype))
    tolerance = tolerance_of(number_format, by_server=http is not None)
    screen.title(f"Verifying {folder}")
    screen.say(
        f"  Chats in {_languages(len(questions))} are answered twice, with up to {REPLY_TOKENS} tokens each: by the base model "
        f"with its safety prompt in this process, then by {engine}. The tolerances are those of {tolerance.name}."
    )
    if logged is not None:
        screen.say(f"  Then the {len(logged.replies)} test requests of the run are asked again.")
    files = _check_files(folder, manifest)
    if http is not None:
        http.get("/v1/models")  # before the model is loaded
    opened = _open(folder, model, logged, device, number_format, trust_remote_code, screen)
    tokenizer, loaded = opened.chat.tokenizer, opened.chat.model
    budgets = {} if logged is None else logged.budgets(tokenizer)
    chats = make_chats(questions, writes_tools(tokenizer))
    with screen.progress("base model with safety prompt") as (tick, _):
        expected = make_reference(opened.chat, opened.prompt, folder, chats, REPLY_TOKENS, tick)
    base, numbers, switch = loaded.config._name_or_path, loaded.dtype, thinking_switch(chat_template_of(tokenizer))
    del opened, loaded, tokenizer  # two models may not fit into memory
    runs: Served
    if http is None:
        runs = load_in_process(folder, base, numbers, device, trust_remote_code)
    else:
        likely = (manifest.served_name or folder.resolve().name, folder.resolve().name)
        runs = connect(http, served, likely, switch)
    answers: list[Answer] = []
    with screen.progress(runs.name) as (tick, _):
        for one in expected:
            answers.append(runs.answer(one))
            tick(len(answers), len(expected))
    pairs = list(zip(expected, answers, strict=True))
    found = Verification(
        served_by=runs.name,
        number_format=tolerance.name,
        prompt_sha256=manifest.prompt_sha256,
        languages=tuple(questions),
        chats=len(chats),
        tokens=sum(len(one.path) for one in expected),
        checks=(
            files,
            check_rendering(pairs),
            check_tops(pairs, tolerance),
            check_first(pairs, tolerance),
            check_replies(pairs, tolerance),
            check_reserved(expected),
            *_check_run(runs, logged, budgets, device, tolerance, screen),
        ),
    )
    # The file first: the terminal may be gone.
    write_text(folder / RESULT, found.model_dump_json(indent=2) + "\n")
    screen.show(verification_table(found))
    for check in found.checks:
        if check.remark:
            screen.say(f"  {check.name}: {visible(check.remark)}")
    screen.say(f"Written to {folder / RESULT}")
    return found


def _languages(count: int) -> str:
    return "one language" if count == 1 else f"{count} languages"


def _open(
    folder: Path,
    model: str | None,
    logged: LoggedTest | None,
    device: str,
    number_format: str,
    trust_remote_code: bool,
    screen: Screen,
) -> Defended:
    """Load the base model of an export."""
    prompt = folder / PROMPT
    opened = open_target(
        str(prompt),
        model=model or (logged.base if logged is not None else None),
        device=device,
        dtype=number_format if number_format in DTYPES else "checkpoint",
        trust_remote_code=trust_remote_code,
        say=lambda text: screen.say(f"  {text}"),
    )
    if opened.prompt is None:
        raise UserError(f"There is no safety prompt in {prompt}; export again.")
    return Defended(opened.chat, opened.prompt)


def _check_files(folder: Path, manifest: Manifest) -> Check:
    """Check that the files of an export are those that were written."""
    remark = ""
    try:
        check_files(folder, manifest)
    except UserError as error:
        remark = str(error)
    state: State = "failed" if remark else "passed"
    return Check(name="files", state=state, found=f"{len(manifest.files)} files", tolerance="unchanged", remark=remark)


def _check_run(
    runs: Served,
    logged: LoggedTest | None,
    budgets: dict[str, int],
    device: str,
    tolerance: Tolerance,
    screen: Screen,
) -> tuple[Check, ...]:
    """Compare the verdicts on the test rows of a run. Nothing is returned if it is not needed."""
    if logged is not None:
        with screen.progress("test requests of the run") as (tick, _):
            again = ask_again(runs, logged.replies, budgets, tick)
        return (check_verdicts(judge_both(logged.judge(device), logged.replies, again)),)
    if tolerance.share == 1:
        return ()
    remark = "give `run` to compare the verdicts on its test rows"
    return (Check(name=VERDICTS, state="not checked", found="", tolerance=ALLOWED, remark=remark),)
