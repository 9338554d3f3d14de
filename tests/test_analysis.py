"""Attack features, coverage and separability as functions, and the command on a tiny model."""

from __future__ import annotations

import json
import re

import pytest
import torch
from calls import fail, succeed

from babelguard.analysis.coverage import choose_languages, coverage
from babelguard.analysis.features import attack_features, correlation
from babelguard.analysis.separability import (
    auroc,
    centre_distance,
    held_out_scores,
    language_aurocs,
    separable_languages,
)
from babelguard.analysis.states import by_twins
from babelguard.corpus import Corpus
from babelguard.corpus.schema import Row
from babelguard.errors import UserError
from babelguard.jobs.learn import separability_lines
from babelguard.jobs.run_folder import open_folder

pytestmark = pytest.mark.usefixtures("judge_of_bytes")


def states(languages=4, rows=12, width=16, seed=0):
    return torch.randn(languages, rows, width, generator=torch.Generator().manual_seed(seed))


def test_features_have_unit_variance_and_do_not_depend_on_the_centre_of_the_language():
    given = states()
    features = attack_features(given, dimensions=5)
    assert features.shape == (4, 12, 5)
    torch.testing.assert_close(features.pow(2).mean((0, 1)), torch.ones(5, dtype=torch.float64))
    torch.testing.assert_close(features.mean(1), torch.zeros(4, 5, dtype=torch.float64))
    moved = given + 50 * torch.randn(4, 1, 16, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(attack_features(moved, dimensions=5).abs(), features.abs(), rtol=1e-4, atol=1e-4)


def test_differences_shared_by_twins_are_removed():
    attack, shared = states(seed=1), states(seed=2)
    apart = correlation(attack_features(attack + 10 * shared, 10 * shared))
    torch.testing.assert_close(apart, correlation(attack_features(attack)), rtol=1e-3, atol=1e-3)


def test_dimensions_are_bounded_by_rows_and_width():
    assert attack_features(states(rows=4), dimensions=99).shape[-1] == 3
    assert attack_features(states(width=2), dimensions=99).shape[-1] == 2
    with pytest.raises(ValueError, match="at least three"):
        attack_features(states(rows=2))


def test_correlation_finds_similar_languages():
    first, second, noise = states(1, seed=3), states(1, seed=4), 0.3 * states(4, seed=5)
    given = torch.cat([first, first, second, second]) + noise
    matrix = correlation(attack_features(given))
    assert matrix[0, 1] > 0.7 and matrix[2, 3] > 0.7
    assert matrix[:2, 2:].abs().max() < 0.5
    torch.testing.assert_close(matrix, matrix.T)
    torch.testing.assert_close(matrix.diagonal(), torch.ones(4, dtype=torch.float64))


def test_a_language_without_differences_correlates_with_no_other():
    given = states()
    given[1] = given[1, :1]
    matrix = correlation(attack_features(given))
    assert matrix[1].tolist() == [0.0, 1.0, 0.0, 0.0]


def test_one_language_of_each_group_is_chosen():
    matrix = torch.tensor([[1.0, 0.9, 0.0, 0.1], [0.9, 1.0, 0.9, 0.1], [0.0, 0.9, 1.0, 0.1], [0.1, 0.1, 0.1, 1.0]])
    assert choose_languages(matrix, range(4), 2) == [1, 3]
    assert choose_languages(matrix, [0, 2, 3], 1) == [0]  # a tie goes to the first
    reached = [coverage(matrix, choose_languages(matrix, range(4), k)) for k in (1, 2, 3, 4)]
    assert reached == sorted(reached) and reached[-1] == pytest.approx(1.0)
    for count in (0, 5):
        with pytest.raises(ValueError, match="candidates"):
            choose_languages(matrix, range(4), count)


def test_languages_that_are_not_separable_are_used_only_if_there_are_too_few_others():
    nan = float("nan")
    assert separable_languages([0.9, 0.5, 0.7, 0.55], 2) == [0, 2]
    assert separable_languages([0.9, 0.5, 0.7, 0.55], 3) == [0, 2, 3]  # the best of the others joins
    assert separable_languages([0.9, 0.5, 0.7, 0.55], 4) == [0, 1, 2, 3]
    assert separable_languages([nan, nan], 1) == [0, 1]  # too few rows to measure


def test_auroc_of_a_language():
    harmless = torch.tensor([0.0, 1.0] * 20)
    twins = [[k, k + 1] for k in range(0, 40, 2)]
    noise = states(1, 40, 3, seed=6)[0]
    assert auroc(harmless, harmless) == 1.0 and auroc(-harmless, harmless) == 0.0
    assert auroc(held_out_scores(noise + 6 * harmless[:, None], harmless, twins), harmless) > 0.99
    assert 0.2 < auroc(held_out_scores(noise, harmless, twins), harmless) < 0.8


def test_three_rows_of_each_label_suffice_without_twins():
    harmless = torch.tensor([0.0, 1.0] * 3)
    assert 0.0 <= auroc(held_out_scores(states(1, 6, 3, seed=8)[0], harmless, [[k] for k in range(6)]), harmless) <= 1.0


def test_a_language_without_signal_is_detected():
    groups = [[k, k + 20] for k in range(20)]
    harmless = torch.tensor([0.0] * 20 + [1.0] * 20)
    given = states(3, 40, 32, seed=9)
    given[:2, :, 5] += torch.tensor([[8.0], [4.0]]) * harmless
    seen, half, blind = language_aurocs(given, harmless, groups)
    assert seen > 0.99 and half > 0.9 and blind < 0.75
    # Each language has its own head. Other languages change only the directions.
    assert language_aurocs(given[[2, 0]], harmless, groups)[1] > 0.99


def test_a_twin_is_held_out_with_its_row():
    # The twins are nearly equal, so a head that was fitted on one predicts its label for the other.
    first = states(1, 20, 32, seed=11)
    given = torch.cat([first, first + 1e-3], dim=1)
    harmless = torch.tensor([0.0] * 20 + [1.0] * 20)
    assert language_aurocs(given, harmless, [[k] for k in range(40)])[0] < 0.25
    assert language_aurocs(given, harmless, [[k, k + 20] for k in range(20)])[0] > 0.4


def test_separability_is_described():
    first, second = separability_lines(["ga", "en", "da"], [0.49, 0.98, float("nan")])
    assert first.endswith("English (en) 0.98, Irish (ga) 0.49")
    assert "Irish" in second and "English" not in second
    assert len(separability_lines(["en"], [0.66])) == 1
    assert separability_lines(["en"], [float("nan")]) == []


def test_one_row_of_a_label_is_too_few_for_cross_validation():
    found = language_aurocs(states(2, 3), torch.tensor([0.0, 1.0, 1.0]), [[0], [1], [2]])
    assert all(value != value for value in found)


def test_only_harmless_twins_are_used():
    def corpus(last):
        rows = [("a", "harmful", "b"), ("b", "harmless", "a"), ("c", "harmful", "d"), ("d", last, "c")]
        return Corpus.of((Row(name, label, {"en": name}, twin=twin) for name, label, twin in rows), "made up")

    given = states(1, 4)
    harmful, twins = by_twins(corpus("harmless"), given)
    assert harmful.equal(given[:, [0, 2]]) and twins.equal(given[:, [1, 3]])
    harmful, twins = by_twins(corpus("harmful"), given)
    assert harmful.shape[1] == 3 and twins is None


def test_a_draft_of_the_first_file_may_exist(tmp_path):
    (tmp_path / "inputs.json.part").write_text("{")
    open_folder(tmp_path, "analysis", {"split": "train"}, name="inputs.json")
    with pytest.raises(UserError, match="contains the analysis of other prompts, another model or other options"):
        open_folder(tmp_path, "analysis", {"split": "test"}, name="inputs.json")


def test_the_distance_of_centres_is_in_standard_deviations():
    here = states(1, 4000, 3, seed=7)[0]
    assert centre_distance(here, here) == 0.0
    moved = here + torch.tensor([3.0, 0.0, 0.0])
    assert centre_distance(moved, here) == pytest.approx(3.0, rel=0.05)
    assert centre_distance(100 * moved, 100 * here) == pytest.approx(centre_distance(moved, here))


@pytest.fixture(scope="module")
def analysed(folders, files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("analysis") / "tiny"
    given = ["analyse", folders("llama"), "--corpus", files / "corpus.csv", "--split", "train", "--anchor-rows", 4]
    given += ["--judge", "patterns"]
    given += ["--device", "cpu", "--dtype", "float32", "--output", folder]
    return folder, given, succeed(*given)


def test_analyse_writes_numbers_a_report_and_pictures(analysed):
    folder, given, said = analysed
    found = json.loads((folder / "analysis.json").read_text())
    assert found["languages"] == ["en", "da", "ko"] and (found["harmful"], found["harmless"]) == (5, 5)
    assert [len(line) for line in found["correlation"]] == [3, 3, 3]
    assert sorted(found["recommended"]) == ["da", "en", "ko"] and found["coverage"][-1] == 1.0
    english = found["results"][0]
    assert english["language"] == "en" and english["distance"] == 0.0 and english["attack_success"]["n"] == 5
    assert "auto:3" in said and "| Danish (da) |" in (folder / "report.md").read_text()
    for name in ("scatter-none.png", "languages.png"):
        assert (folder / name).read_bytes()[:4] == b"\x89PNG"
    # The same command generates no reply again.
    log = (folder / "generations.jsonl").read_bytes()
    succeed(*given)
    assert (folder / "generations.jsonl").read_bytes() == log


def test_a_language_that_is_not_separable_is_not_recommended(analysed, tmp_path, monkeypatch):
    _, given, _ = analysed
    monkeypatch.setattr("babelguard.jobs.analyse.language_aurocs", lambda *_, **__: [0.9, 0.5, 0.9])
    said = succeed(*given[:-1], tmp_path)
    found = json.loads((tmp_path / "analysis.json").read_text())
    assert sorted(found["recommended"]) == ["en", "ko"] and found["not_separable"] == ["da"]
    assert "Not recommended, because the model hardly separates harmful from harmless prompts: Danish (da)." in re.sub(
        r"\s+", " ", said
    )


def test_analyse_a_run_shows_before_and_after(command, files, tmp_path):
    succeed(*command("llama", tmp_path / "run"))
    given = [
        "--corpus",
        files / "corpus.csv",
        "--split",
        "train",
        "--anchor-rows",
        4,
        "--judge",
        "patterns",
        "--output",
        tmp_path / "analysis",
    ]
    succeed("analyse", tmp_path / "run", "--dtype", "float32", *given)
    found = json.loads((tmp_path / "analysis" / "analysis.json").read_text())
    assert {one["defence"] for one in found["results"]} == {"none", "mcd"}
    assert (tmp_path / "analysis" / "scatter-mcd.png").exists()


def test_analyse_explains_mistakes(folders, files, analysed, tmp_path):
    given = ["analyse", folders("llama"), "--corpus", files / "corpus.csv", "--judge", "patterns"]
    assert "three rows of each label" in fail(*given)
    assert "compares every language with English" in fail(*given, "--split", "train", "--languages", "da,ko")
    assert "'all' is not a split" in fail(*given, "--split", "all")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_text("")
    assert "choose another --output" in fail(*given, "--split", "train", "--output", tmp_path / "other")
    other = [*given, "--split", "train", "--output", analysed[0]]
    other[1] = folders("qwen2")
    said = fail(*other)
    assert "contains the analysis of other prompts, another model" in said


def test_auto_chooses_languages_once(command, tmp_path):
    given = command("llama", tmp_path / "run")
    given[given.index("--languages") + 1] = "auto:2"
    said = succeed(*given)
    assert "Choosing 2 of 3 languages" in said
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert len(config["data"]["languages"]) == 2 and config["run"]["languages_asked"] == "auto:2"
    rows = json.loads((tmp_path / "run" / "metrics.json").read_text())["rows"]
    assert {row["language"] for row in rows if row["trained"]} == set(config["data"]["languages"])
    assert "Choosing" not in succeed(*given)


def test_auto_does_not_choose_a_language_that_is_not_separable(command, tmp_path, monkeypatch):
    monkeypatch.setattr("babelguard.analysis.auto.language_aurocs", lambda *_, **__: [0.5, 0.9, 0.9])
    given = command("llama", tmp_path / "run", "--dry-run")
    given[given.index("--languages") + 1] = "auto:2"
    said = re.sub(r"\s+", " ", succeed(*given))
    assert "not considered, because harmful and harmless requests are not separable: English (en)" in said
    assert re.search(r"(Danish \(da\), Korean \(ko\)|Korean \(ko\), Danish \(da\)); mean correlation", said)


@pytest.mark.parametrize(
    ("languages", "said"),
    [("auto:9", "training rows have 3"), ("auto:x", "or only 'auto:'"), ("auto:2,en", "or only 'auto:'")],
)
def test_auto_with_mistakes(command, tmp_path, languages, said):
    given = command("llama", tmp_path / "run")
    given[given.index("--languages") + 1] = languages
    assert said in fail(*given)
    assert not (tmp_path / "run").exists()
