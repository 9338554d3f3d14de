"""The sheet of outcomes and its two forms."""

import io
import re
from collections.abc import Sequence
from typing import Any

import pytest
from rich.console import Console

from babelguard.errors import UserError
from babelguard.evaluation.errors_table import difference_text
from babelguard.evaluation.metrics import compute_metrics
from babelguard.evaluation.outcome import Cell, Metrics, ScoredReply, Verdict
from babelguard.evaluation.tables import Sheet, cell_text, markdown, sheet, terminal
from babelguard.languages import LANGUAGES, display_name, language

TRAINED = ("en", "ko")
ALL = (*TRAINED, "ga", "qq")


def measured(defences: Sequence[str], languages: Sequence[str] = ALL, **options: Any) -> Metrics:
    """Invented verdicts: each defence answers a little less than the last; a few are broken or missing."""
    replies = []
    for rank, defence in enumerate(defences):
        for place, code in enumerate(languages):
            for row in range(50):
                harmful: Verdict = "answered" if row < 30 - 9 * rank + 3 * place else "refused"
                harmless: Verdict = "refused" if row < 4 + rank else "broken" if row == 49 else "answered"
                if code == "ga" and defence == "mcd" and row > 46:
                    harmful = "unscored"
                replies.append(ScoredReply(defence, None, code, f"h{row}", "harmful", harmful))
                replies.append(ScoredReply(defence, None, code, f"s{row}", "harmless", harmless))
    names: dict[str, Any] = {"model": "tiny_1", "benchmark": "invented", "split": "test", "judge": "rules"}
    return compute_metrics(replies, **names, **{"trained": TRAINED, "resamples": 100, **options})


def printed(laid: Sheet, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(terminal(laid))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def grids(text: str) -> list[list[list[str]]]:
    """The cells of the Markdown tables of a text, read as GitHub reads them."""
    tables = [part.splitlines() for part in text.split("\n\n") if part.startswith("|")]
    cells = [[re.split(r"(?<!\\)\|", line)[1:-1] for line in lines] for lines in tables]
    return [[[re.sub(r"\\(.)", r"\1", cell.strip()) for cell in line] for line in table] for table in cells]


def grid(text: str) -> list[list[str]]:
    """The long table; the short one stands first."""
    return grids(text)[-1]


def errors(metrics: Metrics) -> dict[str, dict[str, str]]:
    """The short table: line -> group of languages -> cell."""
    head, _, *lines = grids(markdown(sheet(metrics)))[0]
    assert head[0] == "error: mean of both rates ↓"
    return {line[0]: dict(zip(head[1:], line[1:], strict=True)) for line in lines}


def records(laid: Sheet) -> list[dict[str, str]]:
    """The sheet as one dictionary per line, from column name to cell."""
    names = [column.replace("\n", ": ") for column in laid.columns]
    return [dict(zip(names, line, strict=True)) for line in laid.lines]


def cell(k: int, n: int, broken: int = 0, unscored: int = 0, judged: bool = True) -> Cell:
    low, high = (0.06, 0.22) if judged else (None, None)
    return Cell(k=k, n=n, broken=broken, unscored=unscored, low=low, high=high)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (cell(6, 50), "6/50  12 % [6–22]"),
        (cell(6, 50, broken=3), "6/50  12 % [6–22], 3 broken"),
        (cell(6, 50, broken=3, unscored=1), "6/50  12 % [6–22], 3 broken, 1 unscored"),
        (cell(6, 50, unscored=4, judged=False), "6/50  no rate: 4 unscored"),
        (cell(6, 50, broken=1, unscored=4, judged=False), "6/50  no rate: 4 unscored, 1 broken"),
        (cell(0, 0, judged=False), "–"),
    ],
)
def test_cell(given: Cell, text: str) -> None:
    assert cell_text(given) == text


def test_difference_line() -> None:
    found = measured(["written", "mcd"]).differences[1]
    found = found.model_copy(update={"mean": -0.1234, "low": -0.15, "high": -0.0911, "resolved": True})
    assert difference_text(found) == "mcd − written, trained languages: −12.3 points [−15.0, −9.1]"
    vague = found.model_copy(update={"high": 0.012, "mean": -0.0004, "resolved": False})
    assert difference_text(vague).endswith("0.0 points [−15.0, +1.2], not resolved: interval contains 0")
    partial = found.model_copy(update={"only": "harmful_answered", "left_out": ("ga",)})
    assert "trained languages, harmful answered only, without ga: −12.3" in difference_text(partial)


@pytest.mark.parametrize("layout", ["wide", "long"])
def test_markdown_has_equal_columns(layout: Any) -> None:
    laid = sheet(measured(["none", "a|b", "mcd"]), layout)
    head, rule, *body = grid(markdown(laid))
    assert all(len(line) == len(laid.columns) for line in (head, rule, *body))
    assert all(re.fullmatch(":?-+:?", mark) for mark in rule)
    assert len(body) == len(laid.lines)


@pytest.mark.parametrize("layout", ["wide", "long"])
def test_both_forms_show_the_same_cells(layout: Any) -> None:
    laid = sheet(measured(["none", "written", "mcd"]), layout, width=400)
    shown = printed(laid, 400)
    head, _, *body = grid(markdown(laid))
    assert [dict(zip(head, line, strict=True)) for line in body] == records(laid)
    rows = [line for line in shown.splitlines() if "%" in line or "variance" in line]
    for line in body:
        wanted = r"\s{2,}".join(re.escape(text) for text in line)
        assert any(re.fullmatch(rf"\s*{wanted}\s*", row) for row in rows), line
    for note in laid.notes:
        assert note in shown
        assert note in re.sub(r"\\(.)", r"\1", markdown(laid))


def test_narrow_terminal_breaks_cells_at_commas_and_loses_nothing() -> None:
    laid = sheet(measured(["none", "mcd"]), width=80)
    assert laid.stacked
    shown = printed(laid, 80)
    assert max(map(len, shown.splitlines())) <= 80
    for line in laid.lines:
        for text in line:
            assert all(part in shown for part in text.split(", "))


def test_layout_follows_from_the_width() -> None:
    few, many = measured(["none", "mcd"]), measured(["none", "written", "dro", "vanilla", "mcd"])
    assert len(sheet(few, width=120).columns) == 5
    assert len(sheet(few, width=80).columns) == 4
    assert len(sheet(many, width=120).columns) == 4
    assert len(sheet(many, width=300).columns) == 11
    assert len(sheet(many, "wide", width=80).columns) == 11
    assert len(sheet(few, "long", width=300).columns) == 4


def test_long_layout_begins_with_the_summary() -> None:
    laid = sheet(measured(["none", "mcd"]), "long")
    first = [line[0] for line in laid.lines]
    assert first[:2] == ["trained languages"] * 2
    assert first[6:8] == ["English (en) *"] * 2
    assert [line[1] for line in laid.lines[:4]] == ["none", "mcd"] * 2


def test_names_marks_and_order_of_languages() -> None:
    laid = sheet(measured(["none"], ["ga", "ko", "qq", "en"]), "wide")
    assert [line[0] for line in laid.lines[:4]] == ["Korean (ko) *", "English (en) *", "Irish (ga)", "qq"]
    assert "* trained language" in laid.notes


def test_groups_stand_apart_only_if_both_exist() -> None:
    both = [line[0] for line in sheet(measured(["none"]), "wide").lines]
    assert both[-9:] == [f"{group}: {name}" for group in ("trained", "unseen", "all") for name in STATISTICS]
    one = [line[0] for line in sheet(measured(["none"], trained=()), "wide").lines]
    assert one[-3:] == ["all: mean", "all: worst", "all: variance"]
    assert "* trained language" not in sheet(measured(["none"], trained=())).notes


STATISTICS = ("mean", "worst", "variance")


def test_summary_cells() -> None:
    rows = {line["language"]: line for line in records(sheet(measured(["none"]), "wide"))}
    # 30, 33, 36 and 39 of 50 harmful requests are answered: 60, 66, 72 and 78 %.
    assert rows["all: mean"]["none: harmful answered ↓"] == "69.0 %"
    assert rows["all: worst"]["none: harmful answered ↓"] == "78.0 % (qq)"
    assert rows["all: variance"]["none: harmful answered ↓"] == "45.0"
    assert rows["trained: mean"]["none: harmful answered ↓"] == "63.0 %"


def test_left_out_language_is_named() -> None:
    laid = sheet(measured(["none", "mcd"]))
    assert "mcd: ga left out of the summary, more than 2 % unscored" in laid.notes
    assert "without ga" in errors(measured(["none", "mcd"]))["mcd − none"]["all languages"]
    assert any("no rate: 3 unscored" in text for line in laid.lines for text in line)


def test_errors_stand_in_the_short_table() -> None:
    # Harmful 63 % and harmless (4 refused + 1 broken) / 50 = 10 %.
    assert errors(measured(["none"])) == {
        "none": {"trained languages": "36.5 %", "unseen languages": "42.5 %", "all languages": "39.5 %"}
    }


def test_a_difference_that_is_not_resolved_is_no_number() -> None:
    found = measured(["none", "written"])
    clear = found.differences[0].model_copy(
        update={"group": "trained", "mean": -0.1, "low": -0.15, "high": -0.05, "resolved": True, "left_out": ()}
    )
    vague = clear.model_copy(update={"group": "all", "high": 0.012, "resolved": False})
    line = errors(found.model_copy(update={"differences": (clear, vague)}))["written − none"]
    assert line["trained languages"] == "−10.0 [−15.0, −5.0]"
    assert line["all languages"] == "not resolved [−15.0, +1.2]"
    assert line["unseen languages"] == "–"


def test_the_short_table_is_what_stays_on_the_screen() -> None:
    laid = sheet(measured(["none", "written", "mcd"]), width=80)
    after = printed(laid, 80).partition("lower is better")[2]
    for line in laid.errors:
        for cell in line:
            assert all(part in after for part in cell.split("\n"))


def test_seeds_are_named_where_there_are_several() -> None:
    rows = [ScoredReply("mcd", seed, "en", "r", "harmful", "refused") for seed in (1, 2)]
    rows.append(ScoredReply("dro", 1, "en", "r", "harmful", "refused"))
    found = compute_metrics(rows, model="m", benchmark="b", split="s", judge="j", resamples=10)
    assert [line[1] for line in sheet(found, "long").lines[:3]] == ["mcd (seed 1)", "mcd (seed 2)", "dro"]


def test_markup_in_names_is_shown_as_it_is() -> None:
    laid = sheet(measured(["[red]x[/red]", "a_b*c"]), "long")
    assert "[red]x[/red]" in printed(laid, 200)
    assert r"a\_b\*c" in markdown(laid)
    assert r"tiny\_1" in markdown(laid)


def test_nothing_measured_is_a_table_without_lines() -> None:
    laid = sheet(compute_metrics([], model="m", benchmark="b", split="s", judge="j"))
    assert laid.lines == []
    assert printed(laid, 80)
    assert markdown(laid)


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


def test_language_like_no_other_lists_all() -> None:
    with pytest.raises(UserError, match="use one of am, ar"):
        language("")


@pytest.mark.parametrize("layout", ["wide", "long"])
def test_answers_in_another_language_stand_beside_the_rate_and_below(layout: Any) -> None:
    replies = [
        ScoredReply("mcd", 0, code, f"s{row}", "harmless", "answered", code == "da" and row < 3)
        for code in ("en", "da")
        for row in range(10)
    ]
    names: dict[str, Any] = {"model": "tiny", "benchmark": "invented", "split": "test", "judge": "rules"}
    found = compute_metrics(replies, **names, trained=["en"])
    assert "0/10  0 % [0–28], 3 elsewhere" in markdown(sheet(found, layout))
    line = errors(found)["mcd: answers in another language"]
    assert (line["trained languages"], line["unseen languages"]) == ("0/10 (0 %)", "3/10 (30 %)")
    nobody_looked = sheet(measured(["none", "mcd"]), layout)
    assert "another language" not in markdown(nobody_looked)
