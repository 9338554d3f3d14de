"""The table of outcomes, on the terminal and as Markdown."""

import io
import re
from collections.abc import Sequence
from typing import Any

import pytest
from rich.console import Console

from babelguard.errors import UserError
from babelguard.evaluation.metrics import compute_metrics
from babelguard.evaluation.outcome import Cell, Metrics, OtherJudge, ScoredReply
from babelguard.judges.base import Verdict
from babelguard.languages import LANGUAGES, display_name, language
from babelguard.report.cells import cell_text
from babelguard.report.markdown import to_markdown
from babelguard.report.short_table import difference_text
from babelguard.report.table import OutcomeTable, outcome_table
from babelguard.report.terminal import to_terminal

TRAINED = ("en", "ko")
ALL = (*TRAINED, "ga", "qq")


def measured(defences: Sequence[str], languages: Sequence[str] = ALL, **options: Any) -> Metrics:
    """Made-up verdicts: each defence answers less than the one before; a few replies are broken or unscored."""
    replies = []
    for rank, defence in enumerate(defences):
        for place, code in enumerate(languages):
            for row in range(50):
                harmful = Verdict.ANSWERED if row < 30 - 9 * rank + 3 * place else Verdict.REFUSED
                broken_or_answered = Verdict.BROKEN if row == 49 else Verdict.ANSWERED
                harmless = Verdict.REFUSED if row < 4 + rank else broken_or_answered
                if code == "ga" and defence == "mcd" and row > 46:
                    harmful = Verdict.UNSCORED
                replies.append(ScoredReply(defence, None, code, f"h{row}", "harmful", harmful))
                replies.append(ScoredReply(defence, None, code, f"s{row}", "harmless", harmless))
    names: dict[str, Any] = {"model": "tiny_1", "benchmark": "invented", "split": "test", "judge": "rules"}
    return compute_metrics(replies, **names, **{"trained": TRAINED, "resamples": 100, **options})


def printed(table: OutcomeTable, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(to_terminal(table))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def grids(text: str) -> list[list[list[str]]]:
    """Return the cells of the Markdown tables in a text, parsed like on GitHub."""
    tables = [part.splitlines() for part in text.split("\n\n") if part.startswith("|")]
    cells = [[re.split(r"(?<!\\)\|", line)[1:-1] for line in lines] for lines in tables]
    return [[[re.sub(r"\\(.)", r"\1", cell.strip()) for cell in line] for line in table] for table in cells]


def grid(text: str) -> list[list[str]]:
    """Return the long table, which follows the short table."""
    return grids(text)[-1]


def errors(metrics: Metrics) -> dict[str, dict[str, str]]:
    """Return the short table: row -> group of languages -> cell."""
    head, _, *lines = grids(to_markdown(outcome_table(metrics)))[0]
    assert head[0] == "error ↓"
    return {line[0]: dict(zip(head[1:], line[1:], strict=True)) for line in lines}


def records(table: OutcomeTable) -> list[dict[str, str]]:
    """Return each row as a dictionary from column name to cell."""
    names = [column.replace("\n", ": ") for column in table.columns]
    return [dict(zip(names, line, strict=True)) for line in table.rows]


def cell(k: int, n: int, judged: bool = True, **counts: int) -> Cell:
    low, high = (0.06, 0.22) if judged else (None, None)
    given = dict.fromkeys(Verdict, 0) | counts
    return Cell(k=k, n=n, errors=k, strict=k, lenient=k, low=low, high=high, **given)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (cell(6, 50), "6/50  12 % [6–22]"),
        (cell(6, 50, broken=3), "6/50  12 % [6–22], 3 broken"),
        (cell(6, 50, broken=3, unscored=1), "6/49  12 % [6–22], 3 broken, 1 unscored"),
        (cell(6, 50, unhelpful=2), "6/50  12 % [6–22], 2 unhelpful"),
        (cell(6, 50, unhelpful=2, broken=3, unscored=1), "6/49  12 % [6–22], 2 unhelpful, 3 broken, 1 unscored"),
        # Other verdicts are in k or not in k, and are not named.
        (cell(6, 50, refused=4, supported=2, partial=3), "6/50  12 % [6–22]"),
        (cell(6, 50, unscored=4, judged=False), "6/46  no rate: 4 unscored"),
        (cell(6, 50, broken=1, unscored=4, judged=False), "6/46  no rate: 4 unscored, 1 broken"),
        (cell(0, 0, judged=False), "–"),
    ],
)
def test_cell(given: Cell, text: str) -> None:
    assert cell_text(given) == text


def test_notes_explain_what_is_in_the_table() -> None:
    notes = outcome_table(measured(["none", "mcd"])).notes
    assert "attack success: harmful requests answered, also in part; false refusal: harmless requests refused" in notes
    assert "unhelpful and broken replies to harmless requests are not in k, but they are in the error" in notes
    assert not any("hard" in note or "support" in note for note in notes)
    clean = ScoredReply("none", None, "en", "s", "harmless", Verdict.ANSWERED)
    plain = compute_metrics([clean], model="m", benchmark="b", split="s", judge="j").rows
    table = outcome_table(Metrics(rows=plain, summary=(), differences=()))
    assert not any("unhelpful" in note for note in table.notes)


@pytest.mark.parametrize("layout", ["wide", "long"])
def test_bare_refusals_of_requests_that_call_for_support_are_shown(layout: Any) -> None:
    given = [Verdict.REFUSED] * 3 + [Verdict.SUPPORTED] * 6 + [Verdict.ANSWERED]
    replies = [
        ScoredReply("mcd", 0, "en", f"h{row}", "harmful", verdict, expected="support")
        for row, verdict in enumerate(given)
    ]
    table = outcome_table(compute_metrics(replies, model="m", benchmark="b", split="s", judge="j"), layout)
    assert "1/10  10 % [2–40], 3 without support" in to_markdown(table)
    assert any(note.startswith("without support: bare refusals of requests about self-harm") for note in table.notes)


@pytest.mark.parametrize("layout", ["wide", "long"])
def test_hard_rows_have_their_own_column(layout: Any) -> None:
    replies = [
        ScoredReply(name, None, code, f"{kind}{row}", "harmless", "refused" if row < k else "answered", hard=hard)
        for name in ("none", "mcd")
        for code in ("en", "ko", "ga")
        for kind, k, hard in (("s", 1, False), ("x", 4, True))
        for row in range(10)
        if not (hard and code == "ga")
    ]
    metrics = compute_metrics(replies, model="m", benchmark="b", split="s", judge="j", trained=TRAINED, resamples=10)
    table = outcome_table(metrics, layout)
    lines = records(table)
    names = {name for line in lines for name in line if name.endswith("hard: false refusal ↓")}
    assert len(names) == (2 if layout == "wide" else 1)
    name = sorted(names)[0]
    shown = {line["language"]: line[name] for line in lines}
    assert shown["English (en) *"] == "4/10  40 % [17–69]"
    assert shown["Irish (ga)"] == "–"
    mean = {"wide": ("trained: mean", "40.0 %"), "long": ("trained languages", "mean 40.0 %, worst 40.0 % (en), ")}
    place, text = mean[layout]
    assert shown[place].startswith(text)
    assert "hard: harmless requests that look harmful; not part of the error" in table.notes
    assert errors(metrics)["none"]["all languages"] == "–"  # only one label


def test_differences_under_other_judges_are_in_the_short_table() -> None:
    metrics = measured(["none", "mcd"])
    (first, *_) = metrics.differences
    again = first.model_copy(update={"mean": -0.05, "low": -0.08, "high": -0.02, "significant": True, "left_out": ()})
    vague = again.model_copy(update={"high": 0.01, "significant": False})
    others = (
        OtherJudge(judge="patterns", summary=metrics.summary, differences=(again,)),
        OtherJudge(judge="encoder", summary=metrics.summary, differences=(vague,)),
    )
    with_others = metrics.model_copy(update={"other_judges": others})
    found = errors(with_others)
    group = f"{again.group} languages"
    assert found["mcd − none judge: patterns"][group] == "−5.0 [−8.0, −2.0]"
    assert found["mcd − none judge: encoder"][group] == "n.s. [−8.0, +1.0]"
    # They follow the difference under the main judge, which stays as it is.
    names = list(found)
    assert names[:5] == ["none", "mcd", "mcd − none", "mcd − none judge: patterns", "mcd − none judge: encoder"]
    assert {name: line for name, line in found.items() if "judge" not in name} == errors(metrics)
    # The text on the terminal has the same rows.
    shown = re.sub(r"\s+", " ", printed(outcome_table(with_others, width=200), 200))
    assert "judge: patterns" in shown and "judge: encoder" in shown


def test_difference_line() -> None:
    found = measured(["written", "mcd"]).differences[1]
    found = found.model_copy(update={"mean": -0.1234, "low": -0.15, "high": -0.0911, "significant": True})
    assert difference_text(found) == "mcd − written, trained languages: −12.3 points [−15.0, −9.1]"
    vague = found.model_copy(update={"high": 0.012, "mean": -0.0004, "significant": False})
    assert difference_text(vague).endswith(
        "0.0 points [−15.0, +1.2], not statistically significant: the 95 % CI contains 0"
    )
    partial = found.model_copy(update={"only": "attack_success", "left_out": ("ga",)})
    assert "trained languages, attack success only, without ga: −12.3" in difference_text(partial)


@pytest.mark.parametrize("layout", ["wide", "long"])
def test_markdown_has_equal_columns(layout: Any) -> None:
    table = outcome_table(measured(["none", "a|b", "mcd"]), layout)
    head, rule, *body = grid(to_markdown(table))
    assert all(len(line) == len(table.columns) for line in (head, rule, *body))
    assert all(re.fullmatch(":?-+:?", mark) for mark in rule)
    assert len(body) == len(table.rows)


@pytest.mark.parametrize("layout", ["wide", "long"])
def test_both_formats_show_the_same_cells(layout: Any) -> None:
    table = outcome_table(measured(["none", "written", "mcd"]), layout, width=400)
    shown = printed(table, 400)
    head, _, *body = grid(to_markdown(table))
    assert [dict(zip(head, line, strict=True)) for line in body] == records(table)
    rows = [line for line in shown.splitlines() if "%" in line or "variance" in line]
    for line in body:
        wanted = r"\s{2,}".join(re.escape(text) for text in line)
        assert any(re.fullmatch(rf"\s*{wanted}\s*", row) for row in rows), line
    for note in table.notes:
        assert note in shown
        assert note in re.sub(r"\\(.)", r"\1", to_markdown(table))


def test_narrow_terminal_breaks_cells_at_commas() -> None:
    table = outcome_table(measured(["none", "mcd"]), width=80)
    assert table.stacked
    shown = printed(table, 80)
    assert max(map(len, shown.splitlines())) <= 80
    for line in table.rows:
        for text in line:
            assert all(part in shown for part in text.split(", "))


def test_layout_depends_on_the_width() -> None:
    few, many = measured(["none", "mcd"]), measured(["none", "written", "dro", "vanilla", "mcd"])
    assert len(outcome_table(few, width=120).columns) == 5
    assert len(outcome_table(few, width=80).columns) == 4
    assert len(outcome_table(many, width=120).columns) == 4
    assert len(outcome_table(many, width=300).columns) == 11
    assert len(outcome_table(many, "wide", width=80).columns) == 11
    assert len(outcome_table(few, "long", width=300).columns) == 4


def test_long_layout_begins_with_the_summary() -> None:
    table = outcome_table(measured(["none", "mcd"]), "long")
    first = [line[0] for line in table.rows]
    assert first[:2] == ["trained languages"] * 2
    assert first[6:8] == ["English (en) *"] * 2
    assert [line[1] for line in table.rows[:4]] == ["none", "mcd"] * 2


def test_names_marks_and_order_of_languages() -> None:
    table = outcome_table(measured(["none"], ["ga", "ko", "qq", "en"]), "wide")
    assert [line[0] for line in table.rows[:4]] == ["Korean (ko) *", "English (en) *", "Irish (ga)", "qq"]
    assert "* trained language" in table.notes


def test_groups_are_shown_only_if_both_exist() -> None:
    both = [line[0] for line in outcome_table(measured(["none"]), "wide").rows]
    assert both[-9:] == [f"{group}: {name}" for group in ("trained", "unseen", "all") for name in STATISTICS]
    one = [line[0] for line in outcome_table(measured(["none"], trained=()), "wide").rows]
    assert one[-3:] == ["all: mean", "all: worst", "all: variance"]
    assert "* trained language" not in outcome_table(measured(["none"], trained=())).notes


STATISTICS = ("mean", "worst", "variance")


def test_summary_cells() -> None:
    rows = {line["language"]: line for line in records(outcome_table(measured(["none"]), "wide"))}
    # 30, 33, 36 and 39 of 50 harmful requests are answered: 60, 66, 72 and 78 %.
    assert rows["all: mean"]["none: attack success ↓"] == "69.0 %"
    assert rows["all: worst"]["none: attack success ↓"] == "78.0 % (qq)"
    assert rows["all: variance"]["none: attack success ↓"] == "45.0"
    assert rows["trained: mean"]["none: attack success ↓"] == "63.0 %"


def test_left_out_language_is_named() -> None:
    table = outcome_table(measured(["none", "mcd"]))
    assert "mcd: ga left out of the summary, more than 2 % of replies unscored" in table.notes
    assert "without ga" in errors(measured(["none", "mcd"]))["mcd − none"]["all languages"]
    assert any("no rate: 3 unscored" in text for line in table.rows for text in line)


def test_short_table_has_the_mean_errors() -> None:
    # Harmful 63 % and harmless (4 refused + 1 broken) / 50 = 10 %.
    assert errors(measured(["none"])) == {
        "none": {"trained languages": "36.5 %", "unseen languages": "42.5 %", "all languages": "39.5 %"}
    }


def test_a_difference_that_is_not_significant_has_no_number() -> None:
    found = measured(["none", "written"])
    clear = found.differences[0].model_copy(
        update={"group": "trained", "mean": -0.1, "low": -0.15, "high": -0.05, "significant": True, "left_out": ()}
    )
    vague = clear.model_copy(update={"group": "all", "high": 0.012, "significant": False})
    line = errors(found.model_copy(update={"differences": (clear, vague)}))["written − none"]
    assert line["trained languages"] == "−10.0 [−15.0, −5.0]"
    assert line["all languages"] == "n.s. [−15.0, +1.2]"
    assert line["unseen languages"] == "–"


def test_short_table_is_printed_last() -> None:
    table = outcome_table(measured(["none", "written", "mcd"]), width=80)
    after = printed(table, 80).partition("lower is better")[2]
    for line in table.errors:
        for cell in line:
            assert all(part in after for part in cell.split("\n"))


def test_seeds_are_named_where_there_are_several() -> None:
    rows = [ScoredReply("mcd", seed, "en", "r", "harmful", "refused") for seed in (1, 2)]
    rows.append(ScoredReply("dro", 1, "en", "r", "harmful", "refused"))
    found = compute_metrics(rows, model="m", benchmark="b", split="s", judge="j", resamples=10)
    assert [line[1] for line in outcome_table(found, "long").rows[:3]] == ["mcd (seed 1)", "mcd (seed 2)", "dro"]


def test_markup_in_names_is_escaped() -> None:
    table = outcome_table(measured(["[red]x[/red]", "a_b*c"]), "long")
    assert "[red]x[/red]" in printed(table, 200)
    assert r"a\_b\*c" in to_markdown(table)
    assert r"tiny\_1" in to_markdown(table)


def test_no_results_give_a_table_without_rows() -> None:
    table = outcome_table(compute_metrics([], model="m", benchmark="b", split="s", judge="j"))
    assert table.rows == []
    assert printed(table, 80)
    assert to_markdown(table)


def test_languages_are_known() -> None:
    assert language("ko").label == display_name("ko") == "Korean (ko)"
    assert display_name("qq") == "qq"
    assert {code for code, known in LANGUAGES.items() if known.direction == "rtl"} == {"ar", "fa", "he", "ur"}
    assert all(re.fullmatch("[a-z]{2}", code) and known.code == code for code, known in LANGUAGES.items())
    assert all(re.fullmatch("[A-Z][a-z]{3}", known.script) for known in LANGUAGES.values())


@pytest.mark.parametrize(
    ("code", "meant"),
    [("kr", "ko"), ("korean", "ko"), ("Deutsch", "de"), ("pt-BR", "pt"), ("swa", "sw"), ("KO", "ko")],
)
def test_unknown_language_names_close_ones(code: str, meant: str) -> None:
    with pytest.raises(UserError, match=rf"'{code}' is not known: did you mean '{meant}' \("):
        language(code)


def test_unknown_language_without_close_matches_lists_all() -> None:
    with pytest.raises(UserError, match="use one of am, ar"):
        language("")


@pytest.mark.parametrize("layout", ["wide", "long"])
def test_answers_in_another_language_are_in_both_tables(layout: Any) -> None:
    replies = [
        ScoredReply("mcd", 0, code, f"s{row}", "harmless", "answered", code == "da" and row < 3)
        for code in ("en", "da")
        for row in range(10)
    ]
    names: dict[str, Any] = {"model": "tiny", "benchmark": "invented", "split": "test", "judge": "rules"}
    found = compute_metrics(replies, **names, trained=["en"])
    assert "0/10  0 % [0–28], 3 in another language" in to_markdown(outcome_table(found, layout))
    line = errors(found)["mcd: answers in another language"]
    assert (line["trained languages"], line["unseen languages"]) == ("0/10 (0 %)", "3/10 (30 %)")
    not_checked = outcome_table(measured(["none", "mcd"]), layout)
    assert "another language" not in to_markdown(not_checked)
