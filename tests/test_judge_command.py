"""`babelguard judge`: logged replies of a run, files of replies, and the labelled replies of the package."""

from __future__ import annotations

import json
import shutil

import planted
import pytest
from calls import fail, succeed, tree, user_error

from babelguard.config import Settings
from babelguard.evaluation import judging
from babelguard.jobs import judge_run as judge_run_module
from babelguard.jobs.defend import Defend
from babelguard.jobs.judge_run import judge_run
from babelguard.judges import Judgement, Verdict, labelled
from babelguard.judges.patterns import PatternJudge
from babelguard.screen import Silent

PATTERNS = ("--judge", "patterns")
# Two harmful and two harmless rows in three languages, for two defences.
REPLIES = 2 * 2 * 3 * 2


@pytest.fixture(scope="module")
def planted_run(tmp_path_factory):
    """A run of the written prompt, and an evaluation of the model on the same corpus."""
    root = tmp_path_factory.mktemp("planted")
    planted.save_planted(root / "chat")
    corpus = planted.write_corpus(root / "corpus.csv")
    settings = Settings(
        model=str(root / "chat"),
        preset="written",
        device="cpu",
        dtype="float32",
        data={"languages": ("en", "da"), "corpus": corpus},
        training={"steps": 0},
        selection={"judge": "patterns"},
        evaluation={
            "languages": planted.LANGUAGES,
            "reply_tokens": 4,
            "written": "best",
            "rows": 2,
            "judge": "patterns",
            "other_judges": (),
        },
    )
    Defend(settings, root / "run", Silent()).run()
    given = ["--prompts", corpus, "--limit", 2, "--reply-tokens", 4, "--device", "cpu", "--dtype", "float32", *PATTERNS]
    succeed("evaluate", root / "chat", *given, "--attack", "spacing", "--output", root / "evaluation")
    return root


@pytest.fixture
def run(planted_run, tmp_path):
    return shutil.copytree(planted_run / "run", tmp_path / "run")


class Strict:
    """A judge that counts what it judges, and refuses all replies but the English answers."""

    name = "strict"
    version = "1"

    def __init__(self):
        self.judged = []

    def judge(self, exchanges):
        self.judged += exchanges
        return [
            Judgement(Verdict.ANSWERED if one.reply == planted.ANSWERS["en"] else Verdict.REFUSED, "strict")
            for one in exchanges
        ]

    def unsupported(self, languages):
        return []


@pytest.fixture
def strict(monkeypatch):
    judge = Strict()
    made = {"strict": lambda: judge, "patterns": PatternJudge}
    monkeypatch.setattr(judge_run_module, "create_judge", lambda name, options=None: made[name]())
    return judge


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def test_replies_are_logged_with_their_questions(run):
    rows = lines(run / "generations.jsonl")
    words = {planted.word(*given) for given in planted.words()}
    assert all(words & set(row["question"].split()) for row in rows)
    # The corpus of the run does not say what a correct reply is.
    assert not any("expected" in row for row in rows)


def test_a_run_is_judged_as_the_run_itself_did(run):
    before, (whole, version) = tree(run), (json.loads((run / "metrics.json").read_text()), PatternJudge().version)
    said = succeed("judge", run, *PATTERNS)
    again = json.loads((run / "metrics.patterns.json").read_text())
    assert again["rows"] == whole["rows"] and again["summary"] == whole["summary"]
    assert again["differences"] == whole["differences"]
    assert (run / "report.patterns.md").read_text() in (run / "report.md").read_text()
    assert "attack success" in said and "metrics.patterns.json" in said
    # The verdicts of the run are used, so nothing is judged or logged.
    now = tree(run)
    assert {path: now[path] for path in before} == before
    assert now.keys() - before.keys() == {"metrics.patterns.json", "report.patterns.md"}
    assert {row["key"].split("/")[-1] for row in lines(run / "verdicts.patterns.jsonl")} == {version}


def test_verdicts_are_the_same_lines_as_those_of_the_run(run):
    """The table has test replies only; validation replies are in the log of the run as well."""
    path = run / "verdicts.patterns.jsonl"
    before = lines(path)
    assert {row["split"] for row in before} == {"validation", "test"}
    path.unlink()
    succeed("judge", run, *PATTERNS)
    before = {row["key"]: row for row in before if row["split"] == "test"}
    assert {row["key"]: row for row in lines(path)} == before


def test_another_judge_changes_no_other_file_and_judges_once(run, strict):
    before = tree(run)
    found = judge_run(run, "strict").judges[0].metrics
    assert len(strict.judged) == REPLIES
    assert all(one.question and one.label for one in strict.judged)
    now = tree(run)
    assert {path: now[path] for path in before} == before
    assert now.keys() - before.keys() == {"metrics.strict.json", "report.strict.md", "verdicts.strict.jsonl"}
    assert [(row.defence, row.language) for row in found.rows] == [
        (defence, code) for defence in ("none", "written") for code in planted.LANGUAGES
    ]
    assert {row.language: row.trained for row in found.rows} == {"en": True, "da": True, "ko": False}
    assert {row.judge for row in found.rows} == {"strict"}
    assert {row.split for row in found.rows} == {"test"}
    assert all(row.false_refusal.k == 2 for row in found.rows if row.language == "da")
    judge_run(run, "strict")
    assert len(strict.judged) == REPLIES
    assert tree(run) == now


def test_an_interrupted_judge_loses_at_most_a_batch(run, strict, monkeypatch):
    monkeypatch.setattr(judging, "JUDGE_BATCH", 5)
    whole = Strict.judge

    def stop(self, exchanges):
        if len(self.judged) >= 10:
            raise KeyboardInterrupt
        return whole(self, exchanges)

    monkeypatch.setattr(Strict, "judge", stop)
    fail("judge", run, "--judge", "strict", code=130)
    assert len(lines(run / "verdicts.strict.jsonl")) == 10
    monkeypatch.setattr(Strict, "judge", whole)
    succeed("judge", run, "--judge", "strict")
    assert len(strict.judged) == REPLIES
    assert len(lines(run / "verdicts.strict.jsonl")) == REPLIES


def test_a_reply_that_is_only_a_thought_is_unscored(run, strict):
    rows = lines(run / "generations.jsonl")
    tested = [row for row in rows if row["split"] == "test"]
    tested[0]["reply"] = "<think>I cannot help with that."
    tested[1]["reply"] = f"<think>I cannot help.</think>{planted.ANSWERS['en']}"
    write_lines(run / "generations.jsonl", rows)
    judge_run(run, "strict")
    found = {row["id"]: row for row in lines(run / "verdicts.strict.jsonl")[:2]}
    assert found[tested[0]["id"]]["verdict"] == "unscored"
    assert found[tested[1]["id"]]["verdict"] == "answered"
    assert len(strict.judged) == REPLIES - 1
    assert not any("<think>" in one.reply for one in strict.judged)


def test_replies_logged_by_an_older_version(run, strict):
    rows = [{k: v for k, v in row.items() if k != "question"} for row in lines(run / "generations.jsonl")]
    write_lines(run / "generations.jsonl", rows)
    said = fail("judge", run, "--judge", "strict")
    assert "without their questions" in said and "patterns" in said
    before = (run / "verdicts.patterns.jsonl").read_bytes()
    said = succeed("judge", run, *PATTERNS)
    assert f"{REPLIES} replies are judged by 'patterns' without their questions" in said
    # These verdicts are not used when the question is known.
    added = (run / "verdicts.patterns.jsonl").read_bytes().removeprefix(before).splitlines()
    assert len(added) == REPLIES
    assert all(json.loads(line)["key"].endswith("/without question") for line in added)


def test_an_evaluation_is_judged_with_its_own_attack_and_split(planted_run, tmp_path, strict):
    folder = shutil.copytree(planted_run / "evaluation", tmp_path / "evaluation")
    (row, *_) = judge_run(folder, "strict").judges[0].metrics.rows
    reported = json.loads((folder / "metrics.json").read_text())["rows"][0]
    names = ("model", "benchmark", "split", "attack", "defence", "trained")
    assert {name: getattr(row, name) for name in names} == {name: reported[name] for name in names}
    assert (row.split, row.attack) == ("user", "spacing")
    # The question is the one that was asked, after the attack.
    assert {one.question for one in strict.judged} == {row["question"] for row in lines(folder / "generations.jsonl")}
    assert all(one.question.startswith("H o w") for one in strict.judged if one.language == "en")


def test_an_incomplete_run_is_judged_on_the_rows_of_all_defences(run, strict):
    (run / "metrics.json").unlink()
    rows = lines(run / "generations.jsonl")
    last = [row for row in rows if (row["split"], row["defence"]) == ("test", "written")][-1]
    rows.remove(last)
    write_lines(run / "generations.jsonl", rows)
    said = succeed("judge", run, "--judge", "strict")
    assert "may not be complete" in said and "1 replies are left out" in said
    found = json.loads((run / "metrics.strict.json").read_text())
    counts = [row["attack_success"]["n"] + row["false_refusal"]["n"] for row in found["rows"]]
    assert sorted(counts) == [3, 3, 4, 4, 4, 4]
    assert {row["language"]: row["trained"] for row in found["rows"]} == {"en": True, "da": True, "ko": False}


def test_the_agreement_of_two_judges(run, strict):
    said = succeed("judge", run, *PATTERNS, "--judge", "strict", "--agreement")
    assert "Cohen's kappa" in said and "patterns, strict" in said
    output = json.loads(succeed("judge", run, *PATTERNS, "--judge", "strict", "--agreement", "--json"))
    assert [one["judge"] for one in output["judges"]] == ["patterns", "strict"]
    rows = {row["language"]: row for row in output["agreement"]}
    assert {code: row["n"] for code, row in rows.items()} == {code: 8 for code in planted.LANGUAGES} | {"all": 24}
    assert rows["en"]["refusing"] == 1  # both know English answers
    assert rows["all"]["refusing"] < 1


def test_rates_are_corrected_for_the_errors_of_the_judge(run, strict, monkeypatch, labelled_folder):
    whole = Strict.judge

    def unhelpful(self, exchanges):
        """Of the replies of the run, call answers unhelpful. They count as errors, but not in the rates."""
        return [
            found._replace(verdict=Verdict.UNHELPFUL)
            if found.verdict == "answered" and one.question != "How?"
            else found
            for one, found in zip(exchanges, whole(self, exchanges), strict=True)
        ]

    monkeypatch.setattr(Strict, "judge", unhelpful)
    output = json.loads(succeed("judge", run, "--judge", "strict", "--correct", "--json"))
    rows = {
        (row["language"], row["measure"]): row for row in output["judges"][0]["corrected"] if row["defence"] == "none"
    }
    english = rows["en", "false_refusal"]
    # Of the harmless English labelled replies, 3 of 4 refusals and 5 of 5 answers are found.
    assert (english["sensitivity"], english["sensitivity_n"]) == (1, 3)
    assert (english["specificity"], english["specificity_n"]) == (0.8, 5)
    assert english["corrected"]["value"] == pytest.approx(max(0, (english["measured"]["value"] - 0.2) / 0.8))
    assert not english["other_label"]
    harmful = rows["en", "attack_success"]
    assert harmful["other_label"] and (harmful["sensitivity_n"], harmful["specificity_n"]) == (5, 2)
    # A judge that refuses everything in Danish says nothing there, and there are no Korean labelled replies.
    assert (rows["da", "false_refusal"]["sensitivity"], rows["da", "false_refusal"]["specificity"]) == (1, 0)
    assert rows["da", "false_refusal"]["corrected"] is rows["ko", "false_refusal"]["corrected"] is None
    judged = len(strict.judged)
    said = " ".join(succeed("judge", run, "--judge", "strict", "--correct").split())
    assert len(strict.judged) == judged
    report = (run / "report.strict.md").read_text()
    assert "sensitivity + specificity ≤ 1" in report and "no labelled replies" in report
    assert "Rogan" in said and "other label" in said


@pytest.fixture
def labelled_folder(tmp_path, monkeypatch):
    """Labelled replies in English and Danish; those of the training half would change every count."""
    folder = tmp_path / "labelled"
    folder.mkdir()
    monkeypatch.setattr(labelled, "DATA", folder)

    def rows(code, kinds):
        for number, (label, verdict, reply, part) in enumerate(kinds):
            yield {
                "id": f"{code}-{number}",
                "language": code,
                "question": "How?",
                "label": label,
                "reply": reply,
                "style": {"refused": "first-person", "answered": "direct"}[verdict],
                "origin": "writer a" if number % 2 else "writer b",
                "verdict": verdict,
                "part": part,
            }

    answer, refusal = planted.ANSWERS["en"], planted.REFUSALS["en"]
    english = [("harmless", "refused", refusal, "held")] * 3 + [("harmful", "refused", refusal, "held")] * 2
    english += [("harmless", "answered", answer, "held")] * 4 + [("harmless", "answered", "Sorry, I did it!", "held")]
    english += [("harmless", "answered", refusal, "train")] * 7
    write_lines(folder / "en.jsonl", rows("en", english))
    danish = [("harmless", "refused", planted.REFUSALS["da"], "held"), ("harmless", "answered", "Ja, sådan.", "held")]
    write_lines(folder / "da.jsonl", rows("da", danish))
    return folder


def test_labelled_replies_are_read(labelled_folder):
    assert len(labelled.labelled_replies()) == 19
    held = labelled.labelled_replies("held")
    assert len(held) == 12 and {one.part for one in held} == {"held"}
    assert [one.language for one in labelled.labelled_replies(languages=["da"])] == ["da", "da"]
    assert held[0].exchange.finished
    path = labelled_folder / "da.jsonl"
    path.write_text(path.read_text() + path.read_text().splitlines()[0], encoding="utf-8")
    assert "'da-0' in line 3" in user_error(labelled.labelled_replies)
    path.write_text('{"id": 1}\n')
    assert "Line 1" in user_error(labelled.labelled_replies)


def test_a_judge_is_validated_on_the_held_out_half(labelled_folder):
    output = json.loads(succeed("judge", "--validate", *PATTERNS, "--json"))
    (found,) = output["judges"]
    assert (found["judge"], found["version"]) == ("patterns", PatternJudge().version)
    by_language = {row["language"]: row for row in found["languages"]}
    assert {code: row["n"] for code, row in by_language.items()} == {"da": 2, "en": 10, "all": 12}
    overall = by_language["all"]
    assert (overall["recall"]["k"], overall["recall"]["n"]) == (6, 6)
    assert overall["specificity"]["n"] == 6
    by_style = {row["style"]: row for row in found["styles"]}
    assert by_style["first-person"]["recall"]["n"] == 6 and by_style["first-person"]["specificity"] is None
    assert found["confusion"]["refused"]["refused"] == 6
    assert sum(sum(row.values()) for row in found["confusion"].values()) == 12
    origins = {row["origin"]: (row["refusing"], row["other"]) for row in output["origins"]}
    assert origins == {"writer a": (2, 4), "writer b": (4, 2)}
    said = succeed("judge", "--validate", *PATTERNS)
    for heading in ("quality per language", "quality per style", "patterns: verdicts", "class by origin", "MOVER"):
        assert heading in said


def test_a_package_without_labelled_replies(tmp_path, monkeypatch):
    monkeypatch.setattr(labelled, "DATA", tmp_path)
    assert "reinstall" in fail("judge", "--validate", *PATTERNS)


def test_a_file_of_replies_is_judged(tmp_path):
    path = write_lines(
        tmp_path / "replies.jsonl",
        [
            {"language": "en", "reply": planted.REFUSALS["en"], "verdict": "refused", "id": 7, "other": [1]},
            {"language": "en", "reply": planted.ANSWERS["en"], "expected": "refused", "label": "harmful"},
            {"language": "da", "reply": planted.ANSWERS["da"], "expected": "answered", "finished": True},
            {"language": "da", "reply": "<think>Hm", "verdict": "answered", "question": "Hvad?"},
            # In the log of a run, this is not the true verdict but what a correct reply would be.
            {"language": "da", "reply": planted.ANSWERS["da"], "expected": "refuse", "question": None, "key": "k"},
            {"language": "ko", "reply": planted.ANSWERS["ko"], "expected": "refuse"},
        ],
    )
    output = json.loads(succeed("judge", "--replies", path, *PATTERNS, "--json"))
    assert (output["judge"], output["version"]) == ("patterns", PatternJudge().version)
    assert [(one["id"], one["language"], one["verdict"]) for one in output["replies"]] == [
        ("7", "en", "refused"),
        ("2", "en", "answered"),
        ("3", "da", "answered"),
        ("4", "da", "unscored"),
        ("5", "da", "answered"),
        ("6", "ko", "answered"),
    ]
    assert output["replies"][0].keys() == {"id", "language", "verdict", "reason", "harmful"}
    measured = {row["language"]: row for row in output["quality"]}
    assert {code: (row["n"], row["unscored"]) for code, row in measured.items()} == {
        "en": (2, 0),
        "da": (2, 1),
        "ko": (1, 0),
        "all": (5, 1),
    }
    assert (measured["all"]["recall"]["k"], measured["all"]["recall"]["n"]) == (1, 3)
    assert (measured["da"]["specificity"]["k"], measured["da"]["specificity"]["n"]) == (1, 2)
    assert measured["da"]["false_positive_rate"]["value"] == 0
    said = succeed("judge", "--replies", path, *PATTERNS).splitlines()
    assert said[0].split("\t")[:3] == ["7", "en", "refused"]
    assert [line.split("\t")[2] for line in said[:6]] == [one["verdict"] for one in output["replies"]]
    assert any("recall" in line for line in said)


def test_a_file_without_true_verdicts_has_no_quality(tmp_path):
    path = write_lines(tmp_path / "replies.jsonl", [{"language": "en", "reply": "No.", "id": "a\x1b[2J\tb"}])
    assert json.loads(succeed("judge", "--replies", path, *PATTERNS, "--json"))["quality"] == []
    (line,) = succeed("judge", "--replies", path, *PATTERNS).splitlines()
    assert line.startswith("a\\u001b[2J\\u0009b\ten\t")


GOOD_LINE = '{"language": "en", "reply": "No."}'


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"language": "en"}', "'reply' is missing"),
        ('{"reply": "No."}', "'language' is missing"),
        ('{"language": "en", "reply": 5}', "'reply' is not a text"),
        ('{"language": " ", "reply": "No."}', "'language' is empty"),
        ('{"language": "en", "reply": "No.", "label": "bad"}', "label 'bad'"),
        ('{"language": "en", "reply": "No.", "verdict": "refuse"}', "'verdict' is 'refuse'"),
        ('{"language": "en", "reply": "No.", "verdict": "unscored"}', "not a verdict"),
        ('{"language": "en", "reply": "No.", "expected": "maybe"}', "'expected' is 'maybe'"),
        ('{"language": "en", "reply": "No.", "expected": ["refused"]}', "not a verdict"),
        ('{"language": "en", "reply": "No.", "verdict": "refused", "expected": "answered"}', "different verdicts"),
        ('{"language": "en", "reply": "No.", "finished": "yes"}', "'finished' is 'yes'"),
        ('{"language": "en", "reply": "No.", "question": 1}', "'question' is not a text"),
        ('{"language": "en", "reply": "No.", "id": 1.5}', "'id' is neither"),
        ('{"language": "en", ', "not valid JSON"),
        ('["No."]', "no JSON object"),
        (b'{"language": "en", "reply": "\xff"}', "is not UTF-8"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, line, words):
    path = tmp_path / "replies.jsonl"
    path.write_bytes(f"{GOOD_LINE}\n\n".encode() + (line if isinstance(line, bytes) else line.encode()) + b"\n")
    said = fail("judge", "--replies", path, *PATTERNS)
    assert "line 3" in said and words in said


def test_wrong_files_and_folders(tmp_path, run):
    assert "cannot be read" in fail("judge", "--replies", tmp_path / "none.jsonl", *PATTERNS)
    (tmp_path / "empty.jsonl").write_text("\n")
    assert "no replies" in fail("judge", "--replies", tmp_path / "empty.jsonl", *PATTERNS)
    assert "no generations.jsonl" in fail("judge", tmp_path, *PATTERNS)
    (run / "config.json").rename(run / "gone.json")
    assert "no config.json or evaluation.json" in fail("judge", run, *PATTERNS)
    (run / "gone.json").rename(run / "config.json")
    (run / "metrics.json").write_text('{"rows": [{}]}')
    assert "metrics.json is damaged" in fail("judge", run, *PATTERNS)
    (run / "metrics.json").unlink()
    rows = lines(run / "generations.jsonl")
    write_lines(run / "generations.jsonl", [row for row in rows if row["split"] != "test"])
    assert "no replies of the split 'test'" in fail("judge", run, *PATTERNS)
    rows[3]["label"] = "bad"
    write_lines(run / "generations.jsonl", rows)
    assert "Line 4" in fail("judge", run, *PATTERNS)


def test_wrong_options(run, tmp_path):
    for given in ((), (run, "--validate"), (run, "--replies", "x"), ("--validate", "--replies", "x")):
        assert "exactly one of RUN, --replies and --validate" in fail("judge", *given)
    assert "--agreement and --correct" in fail("judge", "--validate", "--correct")
    assert "at least twice" in fail("judge", run, *PATTERNS, *PATTERNS, "--agreement")
    assert "once" in fail("judge", "--replies", "x", *PATTERNS, "--judge", "rubric")
    assert "no judge named 'wrong'" in fail("judge", run, "--judge", "wrong")


def test_a_judge_that_needs_questions_names_the_line(tmp_path, monkeypatch):
    monkeypatch.setattr(PatternJudge, "needs_question", True)
    path = tmp_path / "replies.jsonl"
    path.write_text('{"language": "en", "reply": "No.", "question": "Why?"}\n' + GOOD_LINE)
    assert "line 2" in fail("judge", "--replies", path, *PATTERNS)


def test_hard_rows_are_judged_and_reported_apart(run):
    rows = lines(run / "generations.jsonl")
    hard = [
        row | {"key": row["key"] + "h", "id": row["id"] + "h", "split": "hard"}
        for row in rows
        if (row["split"], row["label"]) == ("test", "harmless")
    ]
    write_lines(run / "generations.jsonl", rows + hard)
    before = json.loads((run / "metrics.json").read_text())
    for row in before["rows"]:
        row["hard_refusal"] = row["false_refusal"]
    (run / "metrics.json").write_text(json.dumps(before), encoding="utf-8")
    said = succeed("judge", run, *PATTERNS)
    again = json.loads((run / "metrics.patterns.json").read_text())
    assert again["rows"] == before["rows"]
    assert "hard: harmless requests that look harmful" in " ".join(said.split()) and "metrics.json counts" not in said


@pytest.mark.parametrize("change", [{"verdict": "maybe"}, {"verdict": ["refused"]}, {"foreign": "yes"}])
def test_a_damaged_verdict_is_named(run, change):
    succeed("judge", run, *PATTERNS)
    rows = lines(run / "verdicts.patterns.jsonl")
    bad = max(k for k, row in enumerate(rows) if row["split"] == "test")
    rows[bad] |= change
    write_lines(run / "verdicts.patterns.jsonl", rows)
    said = fail("judge", run, *PATTERNS)
    assert "is damaged" in said and "delete that line" in said
    assert f"Line {bad + 1} of" in said or rows[bad]["key"] in said


def test_the_last_reply_to_a_row_counts(run):
    rows = lines(run / "generations.jsonl")
    first = next(row for row in rows if row["split"] == "test")
    write_lines(run / "generations.jsonl", [first | {"key": "older", "reply": "I can't help with that."}, *rows])
    before = json.loads((run / "metrics.json").read_text())
    succeed("judge", run, *PATTERNS)
    assert json.loads((run / "metrics.patterns.json").read_text())["rows"] == before["rows"]


def test_a_row_with_two_labels(run):
    rows = lines(run / "generations.jsonl")
    first = next(row for row in rows if row["split"] == "test")
    first["label"] = {"harmful": "harmless", "harmless": "harmful"}[first["label"]]
    write_lines(run / "generations.jsonl", rows)
    assert "is harmful in one line and harmless in another" in fail("judge", run, *PATTERNS)


@pytest.mark.parametrize(
    ("name", "value"), [("seed", [1]), ("model", 5), ("split", None), ("attack_success", None), ("hard_refusal", {})]
)
def test_odd_rows_of_the_metrics(run, name, value):
    metrics = json.loads((run / "metrics.json").read_text())
    metrics["rows"][0][name] = value
    (run / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    assert "metrics.json is damaged" in fail("judge", run, *PATTERNS)


def test_odd_sections_of_the_settings(run):
    (run / "metrics.json").unlink()
    for content in ({"run": [1], "data": [1]}, {"data": {"languages": None}}):
        (run / "config.json").write_text(json.dumps(content), encoding="utf-8")
        assert "config.json is damaged" in fail("judge", run, *PATTERNS)


def test_an_odd_seed_in_the_log(run):
    rows = lines(run / "generations.jsonl")
    rows[0]["seed"] = [1]
    write_lines(run / "generations.jsonl", rows)
    assert "Line 1 of" in fail("judge", run, *PATTERNS)


def test_a_deeply_nested_line_in_a_log(run):
    with (run / "verdicts.patterns.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"key": ' + "[" * 100_000 + "\n")
    said = fail("judge", run, *PATTERNS)
    assert "nested too deeply" in said and "delete that line" in said


def test_equal_requests_are_judged_once(run, strict):
    replies = judge_run_module.read_logged_run(run).replies
    log = judging.JsonlLog(run / "verdicts.strict.jsonl")
    twice = [replies[0], replies[0]._replace(fields=replies[0].fields | {"id": "twin"}), replies[1]]
    found = judging.score(strict, log, twice)
    assert len(strict.judged) == 2 and [one.row_id for one in found][1] == "twin"
    assert found[0].verdict == found[1].verdict


def test_temporary_failures_are_asked_again(run, strict, monkeypatch):
    lost = Judgement(Verdict.UNSCORED, "no answer", temporary=True)
    with monkeypatch.context() as patched:
        patched.setattr(strict, "judge", lambda exchanges: [lost] * len(exchanges))
        failed = judge_run(run, "strict").judges[0].metrics
    assert all(row.attack_success.unscored == row.attack_success.n for row in failed.rows)
    assert not (run / "verdicts.strict.jsonl").exists()
    again = judge_run(run, "strict").judges[0].metrics
    assert len(strict.judged) == REPLIES and not any(row.attack_success.unscored for row in again.rows)


@pytest.mark.parametrize("change", [{"reply": "I can't help with that."}, {"finished": False}, {"question": "Why ?"}])
def test_a_verdict_is_only_used_for_the_reply_that_was_judged(run, strict, change):
    judge_run(run, "strict")
    rows = lines(run / "generations.jsonl")
    edited = next(row for row in rows if row["split"] == "test" and row["reply"] == planted.ANSWERS["en"])
    edited |= change
    write_lines(run / "generations.jsonl", rows)
    judge_run(run, "strict")
    assert len(strict.judged) == REPLIES + 1
    assert (strict.judged[-1].question, strict.judged[-1].reply) == (edited["question"], edited["reply"])
    found = [row for row in lines(run / "verdicts.strict.jsonl") if row["key"].startswith(edited["key"])]
    assert [row["verdict"] for row in found] == ["answered", "refused" if "reply" in change else "answered"]
    judge_run(run, "strict")
    assert len(strict.judged) == REPLIES + 1


def test_verdicts_that_do_not_say_what_was_judged_are_used(run, strict):
    judge_run(run, "strict")
    path = run / "verdicts.strict.jsonl"
    write_lines(path, [{k: v for k, v in row.items() if k != "judged"} for row in lines(path)])
    judge_run(run, "strict")
    assert len(strict.judged) == REPLIES


@pytest.mark.parametrize("split", ["test", "validation"])
def test_a_reply_that_is_missing_from_the_log(run, split):
    rows = lines(run / "generations.jsonl")
    write_lines(run / "generations.jsonl", [row for row in rows if row != next(r for r in rows if r["split"] == split)])
    before = tree(run)
    said = fail("judge", run, *PATTERNS)
    assert "1 of the replies that were judged in" in said and "delete metrics.json, run the command that made" in said
    assert tree(run) == before


def test_a_damaged_reply_is_not_said_to_be_made_again_by_judging(run):
    path = run / "generations.jsonl"
    path.write_bytes(b"{\n" + path.read_bytes())
    said = fail("judge", run, *PATTERNS)
    assert "Line 1 of" in said and "run the command that made this folder again" in said
    assert "same command" not in said


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"language": "../../x"}, "language: "),
        ({"language": ""}, "language: "),
        ({"split": ""}, "split: "),
        ({"split": "a\nb"}, "split: "),
        ({"defence": ""}, "defence: "),
        ({"defence": "a\x1b[31m"}, "defence: "),
    ],
)
def test_odd_names_in_the_log_of_replies(run, change, words):
    rows = lines(run / "generations.jsonl")
    write_lines(run / "generations.jsonl", [rows[0] | change, *rows[1:]])
    said = fail("judge", run, *PATTERNS)
    assert "Line 1 of" in said and words in said


def test_a_field_twice(run, tmp_path):
    path = run / "generations.jsonl"
    path.write_bytes(path.read_bytes().replace(b'{"key"', b'{"reply": "Yes.", "key"', 1))
    assert "the key 'reply' occurs twice" in fail("judge", run, *PATTERNS)
    (tmp_path / "replies.jsonl").write_text('{"language": "en", "reply": "No.", "reply": "Yes."}\n')
    said = fail("judge", "--replies", tmp_path / "replies.jsonl", *PATTERNS)
    assert "In line 1 of" in said and "the key 'reply' occurs twice" in said
