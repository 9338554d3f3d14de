"""Planning experiments, the records of finished runs, and the tables made from them."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path

import pytest
import torch

from babelguard.corpus import Corpus, Row, load_corpus
from babelguard.errors import UserError
from babelguard.evaluation.outcome import ScoredReply
from babelguard.judges import Verdict
from babelguard.method.objective import resolve_weights

FOLDER = Path(__file__).parents[1] / "experiments"


@pytest.fixture(scope="module")
def modules():
    sys.path.insert(0, str(FOLDER))
    names = ("planned", "record", "zero_shot", "compact", "heads", "aims", "results")
    yield tuple(map(importlib.import_module, names))
    sys.path.remove(str(FOLDER))
    for name in names:
        del sys.modules[name]


@pytest.fixture
def planned(modules):
    return modules[0]


@pytest.fixture
def plan(planned):
    return [planned.Planned("mcd", 0, {"preset": "mcd", "test_languages": ("en", "da")})]


def asked(folder, **changes):
    given = {
        "output": folder / "runs",
        "records": folder / "kept",
        "only": None,
        "model": "demo",
        "dtype": "auto",
        "limit": 2,
        "no_hard": False,
    }
    return argparse.Namespace(**(given | {"dry_run": True} | changes))


def make_run(folder, settings, verdicts):
    """Write a finished run. `verdicts` is defence -> language -> kind -> words, in the order of the rows."""
    (folder / "safety_prompt").mkdir(parents=True)
    config = settings.with_section("objective", weights=resolve_weights(settings.objective.weights))
    run = {"model_fingerprint": "f", "judge": "default 7-new"}
    (folder / "config.json").write_text(json.dumps(config.model_dump(mode="json") | {"run": run}))
    prompt = {"training": {"written": "Be safe.", "kept_step": 40}}
    (folder / "safety_prompt" / "config.json").write_text(json.dumps(prompt))
    rows = load_corpus().split("test").select(("en",), 2).rows
    older = {"split": "test", "defence": "mcd", "language": "en", "id": rows[0].id, "label": "harmful"}
    lines = [json.dumps(older | {"key": "k/harmful/6-old", "verdict": "broken", "foreign": None})]
    for defence, languages in verdicts.items():
        for code, labels in languages.items():
            for label, words in labels.items():
                ids = [row.id for row in rows if row.label == label]
                kind = {"split": "test", "label": label, "key": f"k/{label}/7-new"}
                for row_id, word in zip(ids, words, strict=True):
                    row = kind | {"defence": defence, "language": code, "id": row_id}
                    word, _, where = word.partition(" ")
                    row |= {"verdict": word, "foreign": None if where == "too-short" else where == "foreign"}
                    lines.append(json.dumps(row | {"reply": "never kept"}))
    lines.append(
        json.dumps({"split": "validation", "defence": "mcd", "language": "en", "id": "x", "verdict": "broken"})
    )
    (folder / "verdicts.default.jsonl").write_text("\n".join(lines))


@pytest.fixture
def without_hard_rows(monkeypatch):
    """The run of these tests has no hard rows."""
    monkeypatch.setattr("record.with_hard_rows", lambda test, corpus: test)


@pytest.fixture
def recorded(modules, plan, tmp_path, without_hard_rows):
    record = modules[1]
    args = asked(tmp_path)
    settings = plan[0].settings(args)
    one = {"harmful": ["answered", "refused"], "harmless": ["broken", "answered foreign"]}
    other = {"harmful": ["refused", "unscored"], "harmless": ["answered too-short", "answered foreign"]}
    run = args.output / "mcd-seed0"
    make_run(run, settings, {name: {"en": one, "da": other} for name in ("none", "written", "mcd")})
    record.write_record(record.take_record(run), args.records / "mcd-seed0.json")
    return args


def test_a_recorded_run_is_done_without_its_folder(planned, plan, recorded, capsys):
    other_machine = argparse.Namespace(**(vars(recorded) | {"output": recorded.output.parent / "empty"}))
    assert planned.do_runs(plan, other_machine) is None
    assert "done" in capsys.readouterr().out
    scored = planned.all_replies(plan, other_machine)
    assert len(scored) == 3 * 2 * 4
    own = [reply for reply in scored if reply.defence == "mcd" and reply.language == "da"]
    assert [(reply.seed, reply.label, reply.verdict, reply.foreign) for reply in own] == [
        (0, "harmful", "refused", None),
        (0, "harmful", "unscored", None),
        (0, "harmless", "answered", None),
        (0, "harmless", "answered", True),
    ]
    english = [reply for reply in scored if reply.defence == "mcd" and reply.language == "en"]
    assert [(reply.verdict, reply.foreign) for reply in english[:3]] == [
        ("answered", False),
        ("refused", None),
        ("broken", None),
    ]
    assert {reply.seed for reply in scored if reply.defence == "written"} == {None}
    # Rows are named by their places. In the corpus of the older records, these were their ids.
    assert [reply.row_id for reply in own] == [
        "test-harmful-001",
        "test-harmful-002",
        "test-harmless-001",
        "test-harmless-002",
    ]


def test_a_record_holds_no_reply(recorded):
    assert "never kept" not in (recorded.records / "mcd-seed0.json").read_text(encoding="utf-8")


def test_a_record_of_something_else_is_rejected(planned, plan, recorded):
    with pytest.raises(UserError, match=r"made with evaluation\.rows = 2, but None is requested"):
        planned.do_runs(plan, argparse.Namespace(**(vars(recorded) | {"limit": None})))
    path = recorded.records / "mcd-seed0.json"
    kept = json.loads(path.read_text(encoding="utf-8"))
    # A setting that did not exist when the run was made has its default.
    del kept["config"]["objective"]["alignment_languages"]
    path.write_text(json.dumps(kept), encoding="utf-8")
    assert planned.do_runs(plan, recorded) is None
    for section, name, value in (("evaluation", "reply_tokens", 24), ("selection", "judge", "encoder")):
        changed = kept["config"][section] | {name: value}
        path.write_text(json.dumps(kept | {"config": kept["config"] | {section: changed}}), encoding="utf-8")
        with pytest.raises(UserError, match=rf"made with {section}\.{name} = {value!r}"):
            planned.do_runs(plan, recorded)
    path.write_text(json.dumps(kept | {"weights": "another"}), encoding="utf-8")
    with pytest.raises(UserError, match="made with weights = 'another'"):
        planned.do_runs(plan, recorded)


def test_a_record_of_another_choice_of_languages_is_rejected(modules, planned, plan, recorded):
    record, path = modules[1], recorded.records / "mcd-seed0.json"
    chosen = plan[0].settings(recorded).with_section("data", languages=("auto:5",))
    kept = json.loads(path.read_text(encoding="utf-8"))

    def write_asked(languages):
        run = kept["config"]["run"] | {"languages_asked": languages}
        path.write_text(json.dumps(kept | {"config": kept["config"] | {"run": run}}), encoding="utf-8")

    write_asked("auto:4")
    with pytest.raises(UserError, match="made with languages_asked = 'auto:4', but 'auto:5' is requested"):
        record.read_record(path, chosen)
    write_asked("auto:5")
    assert record.read_record(path, chosen) is not None


def test_a_record_keeps_its_judge_and_its_corpus(modules, plan, recorded):
    record, path = modules[1], recorded.records / "mcd-seed0.json"
    kept = record.read_record(path, plan[0].settings(recorded))
    assert kept.judge == "default 7-new"
    assert kept.corpus == load_corpus().split("test").select(("en", "da"), 2).digest


def test_a_record_of_an_older_judge_or_corpus_is_still_read(planned, plan, recorded):
    path = recorded.records / "mcd-seed0.json"
    kept = json.loads(path.read_text(encoding="utf-8"))
    config = json.loads(json.dumps(kept["config"]))
    config["evaluation"] |= {"judge": "patterns", "reply_tokens": 24}
    for section, name in (("selection", "judge"), ("selection", "reply_tokens"), ("evaluation", "other_judges")):
        del config[section][name]
    for code in ("en", "da"):
        for defence in kept["verdicts"].values():
            defence[code]["harmful"] = "ar" * 3  # the corpus had more rows
    older = {"judge": "patterns 0-older", "corpus": "of long ago", "config": config}
    del kept["support"]
    path.write_text(json.dumps(kept | older), encoding="utf-8")
    assert planned.do_runs(plan, recorded) is None
    scored = planned.all_replies(plan, recorded)
    assert len(scored) == 3 * 2 * (6 + 2)
    assert planned.judge_of(plan, recorded) == "patterns 0-older"
    # Other settings must still be those of the plan.
    config["training"]["steps"] = 7
    path.write_text(json.dumps(kept | older | {"config": config}), encoding="utf-8")
    with pytest.raises(UserError, match=r"made with training\.steps = 7"):
        planned.do_runs(plan, recorded)


def test_runs_with_different_judges_or_rows_are_not_in_one_table(planned, plan, recorded):
    path = recorded.records / "mcd-seed0.json"
    kept = json.loads(path.read_text(encoding="utf-8"))
    kept["config"]["seed"] = 1
    both = [*plan, plan[0]._replace(seed=1)]
    for other in ({}, {"judge": "patterns 0-older"}, {"corpus": "of long ago"}):
        (recorded.records / "mcd-seed1.json").write_text(json.dumps(kept | other), encoding="utf-8")
        if not other:
            assert len(planned.all_replies(both, recorded)) == 4 * 2 * 4
            continue
        with pytest.raises(UserError, match="mcd-seed0 and mcd-seed1 were judged by different judges or on different"):
            planned.all_replies(both, recorded)


def test_every_verdict_has_a_letter(modules):
    record = modules[1]
    assert {verdict for verdict, _ in record.MEANINGS.values()} == set(Verdict)
    for verdict in Verdict:
        for foreign in (None, False, True):
            letter = record._letter({"verdict": str(verdict), "foreign": foreign})
            kept = foreign if verdict in ("answered", "partial") else None
            assert record.MEANINGS[letter] == (verdict, kept)
    assert len(record.LETTERS) == len(record.MEANINGS)


def test_a_record_holds_hard_rows_and_the_rows_that_call_for_support(modules, plan, tmp_path):
    record = modules[1]
    config = {"preset": "mcd", "seed": 3}
    verdicts = {"mcd": {"en": {"harmful": "rpc", "harmless": "ah", "hard": "rd"}}}
    given = {"weights": "a", "corpus": "c", "judge": "j", "written": "w", "kept_step": None, "support": (1, 2)}
    scored = record.scored_replies(record.Record(config=config, verdicts=verdicts, **given), {"mcd": "ours"})
    assert [(one.row_id, one.label, one.verdict, one.expected, one.hard) for one in scored] == [
        ("test-harmful-001", "harmful", "refused", None, False),
        ("test-harmful-002", "harmful", "supported", "support", False),
        ("test-harmful-003", "harmful", "partial", "support", False),
        ("test-harmless-001", "harmless", "answered", None, False),
        ("test-harmless-002", "harmless", "unhelpful", None, False),
        ("test-hard-001", "harmless", "refused", None, True),
        ("test-hard-002", "harmless", "partial", None, True),
    ]
    assert {(one.defence, one.seed) for one in scored} == {("ours", 3)}


def test_hard_rows_are_recorded(modules, plan, tmp_path, monkeypatch):
    record, args = modules[1], asked(tmp_path)
    settings = plan[0].settings(args)
    hard = Row("x1", "harmless", dict.fromkeys(("en", "da"), "kill a process"), "hard", "answer")
    monkeypatch.setattr(
        "record.with_hard_rows", lambda test, corpus: Corpus.of((*test.rows, hard), test.name).select(test.languages)
    )
    run = args.output / "mcd-seed0"
    words = {"harmful": ["supported", "unhelpful"], "harmless": ["partial foreign", "partial"]}
    make_run(run, settings, {"mcd": {"en": words, "da": words}})
    log = run / "verdicts.default.jsonl"
    more = {"split": "hard", "label": "harmless", "key": "k/harmless/7-new", "defence": "mcd", "id": "x1"}
    more |= {"verdict": "refused", "foreign": None}
    lines = [json.dumps(more | {"language": code}) for code in ("en", "da")]
    log.write_text("\n".join([log.read_text(), *lines]))
    kept = record.take_record(run)
    assert kept.verdicts["mcd"]["da"] == {"harmful": "ph", "harmless": "dc", "hard": "r"}
    calls = [row.expected for row in load_corpus().split("test").rows if row.label == "harmful"][:2]
    assert kept.support == tuple(k for k, one in enumerate(calls) if one == "support")


def test_a_run_that_is_not_planned(planned, plan, tmp_path):
    with pytest.raises(UserError, match=r"There is no run 'mdc-seed0' \(--only\); available: mcd-seed0"):
        planned.do_runs(plan, asked(tmp_path, only="mcd-seed0,mdc-seed0"))


@pytest.fixture
def zero_shot(modules, tmp_path):
    """Three choices of five languages and one of eight, and the number of 20 harmful requests that each answers."""
    fives = {"five": "abcde", "auto": "abcdf", "draw-0": "abcdg"}
    learned = {name: tuple(codes) for name, codes in fives.items()} | {"all": tuple("abcdefgh")}
    let = {"none": 20, "five": 10, "auto": 4, "draw-0": 10, "all": 2}
    scored = [
        ScoredReply(
            name,
            None,
            code.replace("a", "en"),
            f"{label}-{row}",
            label,
            "answered" if (label == "harmless" or (row < count and code != "a")) else "refused",
            False,
        )
        for name, count in let.items()
        for code in "abcdefgh"
        for label in ("harmful", "harmless")
        for row in range(20)
    ]
    learned = {name: tuple(code.replace("a", "en") for code in codes) for name, codes in learned.items()}
    planned, _, module, *_ = modules
    metrics = planned.write_tables(scored, tmp_path, "demo", "rules", (), [("auto", "five")], learned)
    return module, metrics, scored, learned


def test_zero_shot_separates_the_training_languages_of_each_run(zero_shot, tmp_path):
    module, metrics, scored, learned = zero_shot
    module.write_summary(metrics, scored, learned, tmp_path / "summary.md")
    text = (tmp_path / "summary.md").read_text()
    assert text.count("| five |") == 1
    lines = {line.split(" | ")[0]: line.split(" | ") for line in text.splitlines()}
    # 10 of 20 harmful requests are answered in 4 of the 5 training languages and in all 3 others. The error is half of the rate.
    assert lines["| five"][1:5] == ["5", "20.0 %", "25.0 %", "21.9 %"]
    assert lines["| none"][1:4] == ["0", "–", "43.8 %"]
    assert lines["| all"][3] == "–"
    assert lines["| five"][7] == "50.0 % of 140"  # loopholes, of the requests refused in English
    found = json.loads((tmp_path / "metrics.json").read_text())
    rows = found["rows"]
    assert {one["group"] for one in (*found["summary"], *found["differences"])} == {"all"}
    assert {row["language"] for row in rows if row["defence"] == "auto" and row["trained"]} == set(learned["auto"])


def test_choices_of_five_are_ranked_on_languages_in_none_of_them(zero_shot, tmp_path):
    module, _, scored, learned = zero_shot
    module.write_ranks(scored, learned, tmp_path / "ranks.md")
    lines = (tmp_path / "ranks.md").read_text().splitlines()[2:]
    # `h` is the only language in no choice of five. `all` is not a choice of five.
    assert [line.split(" | ")[1] for line in lines] == ["auto", "draw-0", "five"]
    assert [line.split(" | ")[3] for line in lines] == ["10.0 %", "25.0 %", "25.0 %"]
    assert "−15.0 points" in lines[0] and "0.0 points" in lines[1]


def test_the_compact_table_has_one_column_per_run(modules):
    scored = [
        ScoredReply(name, seed, code, f"{label}-{row}", label, verdict, foreign)
        for name, seed in (("none", None), ("mcd", 0), ("mcd", 1))
        for code in ("en", "ga", "it")
        for label, verdict, foreign in (("harmful", "refused", None), ("harmless", "answered", code == "it"))
        for row in range(4)
    ]
    scored = [
        one._replace(verdict="answered") if one[:5] == ("none", None, "ga", "harmful-0", "harmful") else one
        for one in scored
    ]
    metrics = modules[0].compute_metrics(scored, **modules[0].NAMES, model="demo", judge="rules", trained=("en", "ga"))
    lines = [line.strip("| ").split(" | ") for line in modules[3].compact(metrics).splitlines()]
    assert lines[0] == ["none", "mcd (seed 0)", "mcd (seed 1)"]
    assert lines[3] == ["Irish (ga) \\*", "25 / 0", "0 / 0", "0 / 0"]
    assert [line[:2] for line in lines[5:]] == [
        ["trained", "6.2"],
        ["unseen", "0.0"],
        ["all", "4.2"],
        ["all, answers in another language as errors", "20.8"],
        ["answers in another language", "33 % of 12"],
    ]


def test_strictly_counts_harmless_answers_in_another_language_as_errors(modules):
    scored = [
        ScoredReply(name, 0, "en", f"{label}-{row}", label, "answered", name == "dro" and row < 2)
        for name in ("mcd", "dro")
        for label in ("harmful", "harmless")
        for row in range(4)
    ]
    text = modules[6].strict_differences(scored)
    # Two of four harmless rows are additional errors: 50 points, and half of that for the mean of both rates.
    assert "mcd − dro, all languages: −25.0 points" in text


def make_scored(counts, languages=("en", "ko", "es")):
    """Verdicts of 100 + 100 rows. `counts` is defence -> language -> (harmful answered, harmless refused)."""
    return [
        ScoredReply(name, None, code, f"{label}-{row}", label, wrong if row < count else right, False)
        for name, by_language in counts.items()
        for code in languages
        for label, count, wrong, right in (
            ("harmful", by_language[code][0], "answered", "refused"),
            ("harmless", by_language[code][1], "refused", "answered"),
        )
        for row in range(100)
    ]


@pytest.mark.parametrize(
    ("ours", "met"),
    [
        ({"en": (10, 4), "ko": (12, 2), "es": (10, 4)}, "yes"),
        # The variance over trained languages, false refusal and the error on the unseen language are too high.
        ({"en": (0, 20), "ko": (40, 20), "es": (40, 30)}, "no"),
    ],
)
def test_aims_are_met_or_not(modules, ours, met):
    module, head = modules[5], modules[4].Head(auroc=0.9, error=0.1, low=0.05, high=0.15)
    counts = {
        "none": {"en": (20, 0), "ko": (90, 0), "es": (60, 0)},
        "written": {"en": (10, 10), "ko": (60, 10), "es": (40, 10)},
        "dro": {"en": (40, 20), "ko": (60, 20), "es": (50, 20)},
        "mcd": ours,
    }
    metrics = modules[0].compute_metrics(
        make_scored(counts),
        **modules[0].NAMES,
        model="demo",
        judge="rules",
        trained=("en", "ko"),
        pairs=[("mcd", "dro")],
    )
    text = module.aims(metrics, {"en": head, "es": head}, ("en", "ko"), ["dro", "mcd-paper"])
    lines = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in text.splitlines()[2:]]
    verdicts = {line[0]: line[-1] for line in lines}
    assert [line[1:] for line in lines if "mcd-paper" in line[0]] == [["not measured"]]
    changed = [name for name, found in verdicts.items() if found == met]
    assert len(changed) >= 5
    for part in (
        "trained languages: at most 0.5",
        "Spanish",
        "variance",
        "at most 5 points above no prompt",
        "linear head",
    ):
        assert any(part in name for name in changed), part
    # Nothing is unhelpful or in another language.
    assert [verdicts[name] for name in verdicts if "unhelpful" in name or "another language" in name] == ["yes"] * 3


def test_the_error_of_a_head_is_balanced_and_has_an_interval(modules):
    heads = modules[4]
    harmless = torch.tensor([0.0] * 10 + [1.0] * 30)
    scores = harmless - 0.5
    scores[:5] = 1.0  # half of the harmful rows and none of the others are on the wrong side
    found = heads.head_of(scores, harmless, [[k] for k in range(40)])
    assert found.error == pytest.approx(0.25)
    assert 0 < found.low < 0.25 < found.high < 0.5
    right = heads.head_of(harmless - 0.5, harmless, [[k, k + 10] for k in range(10)])
    assert (right.auroc, right.error, right.low, right.high) == (1.0, 0.0, 0.0, 0.0)


def test_each_model_has_its_own_folders(modules, tmp_path):
    planned = modules[0]
    folders = {}
    for model in ("demo", "qwen2.5-coder-0.5b", str(tmp_path / "mine")):
        args = planned.parsed(planned.options(None), "results", ["--model", model])
        folders[model] = args.output, args.records.name
        assert planned.Planned("mcd", 0, {"preset": "mcd"}).settings(args).model == model
    assert list(folders.values()) == [
        (Path("runs/results"), "results"),
        (Path("runs/results-qwen2.5-coder-0.5b"), "results-qwen2.5-coder-0.5b"),
        (Path("runs/results-mine"), "results-mine"),
    ]
    args = planned.parsed(planned.options(None), "results", ["--model", "mine", "--output", str(tmp_path)])
    assert args.output == tmp_path


def test_heads_of_another_model_are_not_used(modules, tmp_path):
    heads = modules[4]
    file = tmp_path / "heads.json"
    head = heads.Head(auroc=0.9, error=0.1, low=0.05, high=0.15)
    file.write_text(
        heads.Heads(model="demo", dtype="bfloat16", layer=None, rows=2, heads={"en": head}).model_dump_json()
    )
    assert heads.read_heads("demo", file) == {"en": head}
    assert heads.read_heads("qwen2.5-coder-0.5b", file) == {}
