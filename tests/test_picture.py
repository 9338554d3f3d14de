"""The plot of outcomes is drawn for all kinds of metrics and shows what it should."""

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path

import pytest

from babelguard.evaluation.metrics import compute_metrics
from babelguard.evaluation.outcome import Metrics, ScoredReply
from babelguard.judges.base import Label, Verdict
from babelguard.report.picture import draw_outcomes
from babelguard.report.style import COLOURS

PNG = b"\x89PNG\r\n\x1a\n"


def measured(
    defences: Sequence[str],
    labels: Sequence[Label] = ("harmful", "harmless"),
    seeds: Sequence[int | None] = (None,),
) -> Metrics:
    replies = [
        ScoredReply(
            defence,
            seed,
            code,
            f"{label}{row}",
            label,
            Verdict.ANSWERED if (row < 12 - 3 * rank + place) == (label == "harmful") else Verdict.REFUSED,
        )
        for rank, defence in enumerate(defences)
        for seed in seeds
        for place, code in enumerate(["en", "ko", "th", "ga"])
        for label in labels
        for row in range(20)
    ]
    return compute_metrics(
        replies,
        model="tiny",
        benchmark="invented",
        split="test",
        judge="rules",
        trained=["en", "ko"],
        resamples=10,
    )


def size(path: Path) -> tuple[int, int]:
    head = path.read_bytes()[:24]
    assert head.startswith(PNG)
    return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")


@pytest.mark.parametrize("defences", [["none"], ["none", "written", "mcd"], ["none", "a", "b", "c", "d"]])
def test_png_is_large_enough_to_read(tmp_path: Path, defences: list[str]) -> None:
    path = tmp_path / "outcomes.png"
    draw_outcomes(measured(defences), path)
    wide, high = size(path)
    assert wide >= 1000
    assert high >= 600


def test_svg_parses_repeats_and_has_the_colours(tmp_path: Path) -> None:
    first, second = tmp_path / "a.svg", tmp_path / "b.svg"
    metrics = measured(["none", "mcd"], seeds=[1, 2])
    draw_outcomes(metrics, first)
    draw_outcomes(metrics, second)
    assert ElementTree.parse(first).getroot().tag.endswith("svg")
    assert first.read_bytes() == second.read_bytes()
    text = first.read_text().upper()
    assert COLOURS[0] in text
    assert COLOURS[1] in text
    assert COLOURS[2] not in text


def test_texts_name_defences_and_languages(tmp_path: Path) -> None:
    path = tmp_path / "outcomes.svg"
    draw_outcomes(measured(["none", "mcd"]), path)
    # Letters are paths in the SVG. Each text is also in a comment next to its path.
    text = path.read_text()
    for shown in ("en", "ko", "th", "ga", "hollow: language not trained on", "tiny on invented (test)"):
        assert shown in text
    # 12, 13, 14 and 15 of 20 for `none`, three less for `mcd`.
    assert "none: 68 % answered, 68 % refused" in text
    assert "mcd: 52 % answered, 52 % refused" in text


def test_single_label_gives_one_line_per_language(tmp_path: Path) -> None:
    path = tmp_path / "outcomes.svg"
    draw_outcomes(measured(["none", "mcd"], labels=["harmful"]), path)
    text = path.read_text()
    assert "harmful requests answered (lower is better)" in text
    assert "Korean (ko)" in text


def test_nothing_to_draw_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no language has a rate"):
        draw_outcomes(compute_metrics([], model="m", benchmark="b", split="s", judge="j"), tmp_path / "x.png")


def test_import_is_light() -> None:
    code = "import sys, babelguard.report.picture; print({'matplotlib', 'scipy'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_link_in_the_place_of_the_picture_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("years of work")
    (tmp_path / "outcomes.png").symlink_to(tmp_path / "precious")
    draw_outcomes(measured(["none"]), tmp_path / "outcomes.png")
    assert (tmp_path / "precious").read_text() == "years of work"
    assert not (tmp_path / "outcomes.png").is_symlink()
