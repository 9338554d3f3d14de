"""`babelguard analyse`: compare languages in a model's hidden states, before and after a defence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from babelguard.analysis.coverage import choose_languages, coverage
from babelguard.analysis.features import attack_features, correlation
from babelguard.analysis.pictures import draw_heat_map, draw_scatter
from babelguard.analysis.result import Analysis, LanguageResult
from babelguard.analysis.separability import auroc, centre_distance, language_aurocs, separable_languages
from babelguard.analysis.states import by_twins, states_of
from babelguard.analysis.tables import to_markdown, to_terminal
from babelguard.config.lists import as_list
from babelguard.corpus import Corpus, questions, read_corpus
from babelguard.defences import Defence, NoDefence, SoftDefence
from babelguard.errors import UserError
from babelguard.evaluation.bench import Bench
from babelguard.evaluation.metrics import compute_metrics
from babelguard.evaluation.reply_length import reply_budgets
from babelguard.files import locked, write_text
from babelguard.jobs.anchors import ask_anchors
from babelguard.jobs.open_target import open_target
from babelguard.jobs.run_folder import open_folder
from babelguard.judges import JudgeOptions
from babelguard.judges.base import identity_of, title_of
from babelguard.judges.create import create_judge
from babelguard.method.space import SafetySpace, fit_head, fit_space
from babelguard.screen import Screen, Silent
from babelguard.targets import LocalModel

ANCHOR_TOKENS = 12
REPLY_TOKENS = 32
# A harmfulness head: weight [m] and bias on safety-space coordinates.
Head = tuple[Tensor, float]


def analyse(
    target: str,
    *,
    corpus: Path | str | None = None,
    split: str = "validation",
    languages: str | Sequence[str] | None = None,
    limit: int | None = None,
    anchor_rows: int = 8,
    judge: str = "default",
    model: str | None = None,
    device: str = "auto",
    dtype: str = "auto",
    batch_size: int | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
    output: Path | str | None = None,
    screen: Screen | None = None,
) -> Analysis:
    """Compare languages in a model's safety space.

    If the target is a run or a safety prompt, its model is analysed without and with the prompt.

    Args:
        target: A model, a run folder, or a safety prompt's folder or hub id.
        corpus: Parallel prompts with a train split for the anchors; default: the built-in corpus.
        split: Split to analyse. Choose training languages on `validation` or `train`, not on `test`.
        languages: Languages; default: all languages of the split.
        limit: Rows per label and language.
        anchor_rows: Training rows per label and language that the safety space is fitted on.
        judge: Name of the judge.
        model: The base model, if it is not at the location recorded in the run.
        device: See `babelguard.models.devices.choose_device`.
        dtype: See `babelguard.models.devices.choose_dtype`.
        batch_size: Replies generated together.
        revision: Revision of a hub model.
        trust_remote_code: Allow model code from the hub to run.
        output: Folder of the results; default: analyses/<target>-<split>.
        screen: Shows progress. Nothing is shown by default.

    Returns:
        The analysis, which is also written to analysis.json.

    Raises:
        UserError: If the target, the corpus, the judge or the output folder cannot be used.
    """
    screen = screen or Silent()
    found = read_corpus(None if corpus is None else Path(corpus))
    for line in found.lines:
        screen.say(line)
    whole = found.corpus
    rows, anchors = _rows(whole, split, as_list(languages), limit)
    chosen_judge = create_judge(judge, JudgeOptions(None, None, device, dtype))
    screen.title(f"Loading {target}")
    opened = open_target(
        target,
        model=model,
        device=device,
        dtype=dtype,
        trust_remote_code=trust_remote_code,
        revision=revision,
        say=lambda text: screen.say(f"  {text}"),
    )
    chat = opened.chat
    folder = Path(output) if output is not None else Path("analyses") / f"{Path(target).name}-{split}"
    facts = {
        "corpus_sha256": whole.digest,
        "model_fingerprint": chat.weights,
        "split": split,
        "judge": identity_of(chosen_judge),
        "anchor_rows": str(anchor_rows),
    }
    with locked(folder):
        open_folder(folder, "analysis", facts, name="inputs.json")
        local = LocalModel(chat, batch_size, folder / "batch_size.json")
        bench = Bench(local, chosen_judge, folder)
        defences: list[Defence] = [NoDefence()]
        if opened.prompt is not None:
            defences.append(SoftDefence.from_prompt(opened.prompt, chat.tokenizer))
        screen.title("Measuring refusals on anchor queries")
        codes = tuple(code for code in rows.languages if code in anchors.languages)
        space, english_head = _fit(local, bench, anchors.select(codes, anchor_rows), codes, screen)

        screen.title(f"{len(rows.rows)} {split} rows in {len(rows.languages)} languages")
        results: list[LanguageResult] = []
        logits: dict[str, tuple[Tensor, Tensor]] = {}
        features = torch.empty(0)
        lengths = reply_budgets(chat.tokenizer, rows.languages, REPLY_TOKENS)
        for defence in defences:
            with screen.progress(f"{defence.name}: states") as (tick, _):
                states = states_of(local, defence, rows, tick)
            if defence.name == "none":
                features = attack_features(*by_twins(rows, states))
            logits[defence.name] = (space.compliance_logit(states), space.harmlessness_logit(states))
            results += _results(bench, defence, rows, lengths, states, space, english_head, screen)
        similarity = correlation(features)
        index = [k for k, code in enumerate(rows.languages) if code in anchors.languages]
        own = [one.auroc_own for one in results if one.defence == "none" and one.language in anchors.languages]
        candidates = [index[k] for k in separable_languages(own, 1)]
        order = choose_languages(similarity, candidates, min(10, len(candidates)))
        analysis = Analysis(
            model=chat.name,
            split=split,
            harmful=rows.labels.count(0),
            harmless=rows.labels.count(1),
            explained=space.explained,
            results=results,
            languages=list(rows.languages),
            correlation=[[round(value, 4) for value in line] for line in similarity.tolist()],
            recommended=[rows.languages[k] for k in order],
            not_separable=[rows.languages[k] for k in index if k not in candidates],
            coverage=[round(coverage(similarity, order[: k + 1]), 4) for k in range(len(order))],
        )
        _write(analysis, rows, logits, similarity, folder, screen)
        return analysis


def _rows(whole: Corpus, split: str, languages: tuple[str, ...] | None, limit: int | None) -> tuple[Corpus, Corpus]:
    """Select the rows to analyse and the rows for the anchors."""
    rows, anchors = whole.split(split), whole.split("train")
    if not rows.rows or not anchors.rows:
        missing = split if not rows.rows else "train"
        raise UserError(f"The corpus {whole.name} has no rows in the split '{missing}', which the analysis needs.")
    rows = rows.select(languages, limit)
    if "en" not in rows.languages or "en" not in anchors.languages:
        raise UserError("The analysis compares every language with English; add 'en' to `languages`.")
    if len(rows.languages) < 2 or min(rows.labels.count(0), rows.labels.count(1)) < 3:
        raise UserError(
            "The analysis needs at least two languages and three rows of each label; increase `languages` or `limit`."
        )
    return rows, anchors


def _fit(
    local: LocalModel, bench: Bench, anchors: Corpus, codes: tuple[str, ...], screen: Screen
) -> tuple[SafetySpace, Head]:
    """Fit the safety space on all anchors, and a harmfulness head on the English ones."""
    asked = questions(anchors, codes, "train")
    budgets = reply_budgets(local.chat.tokenizer, {question.language for question in asked}, ANCHOR_TOKENS)
    found = ask_anchors(local, bench, asked, budgets, screen)
    space = fit_space(found.states, found.compliance, found.harmless)
    english = torch.tensor([question.language == "en" for question in asked]).repeat(len(found.states) // len(asked))
    z = space.project(found.states[english]).double().numpy()
    weight, bias = fit_head(z, found.harmless[english].double().numpy(), folds="ten", seed=0)
    return space, (torch.tensor(weight, dtype=torch.float32), bias)


def _results(
    bench: Bench,
    defence: Defence,
    rows: Corpus,
    lengths: Mapping[str, int],
    states: Tensor,
    space: SafetySpace,
    head: Head,
    screen: Screen,
) -> list[LanguageResult]:
    """Measure every language under one defence."""
    asked = questions(rows, rows.languages, rows.rows[0].split or "")
    with screen.progress(f"{defence.name}: replies") as (tick, _):
        scored = bench.ask(defence, asked, tokens=lengths, tick=tick)
    metrics = compute_metrics(
        scored, model=bench.target.name, benchmark="", split="", judge=title_of(bench.judge), trained=()
    )
    cells = {row.language: row for row in metrics.rows}
    harmless = torch.tensor(rows.labels)
    z = space.project(states)
    own = language_aurocs(states, harmless, rows.groups)
    english = z[rows.languages.index("en")]
    return [
        LanguageResult(
            language=code,
            defence=defence.name,
            auroc_english=auroc(z[k] @ head[0] + head[1], harmless),
            auroc_own=own[k],
            distance=centre_distance(z[k], english),
            attack_success=cells[code].attack_success,
            false_refusal=cells[code].false_refusal,
        )
        for k, code in enumerate(rows.languages)
    ]


def _write(
    analysis: Analysis,
    rows: Corpus,
    logits: Mapping[str, tuple[Tensor, Tensor]],
    similarity: Tensor,
    folder: Path,
    screen: Screen,
) -> None:
    """Write the numbers, the report and the pictures, and show the tables."""
    write_text(folder / "analysis.json", analysis.model_dump_json(indent=2) + "\n")
    write_text(folder / "report.md", to_markdown(analysis))
    written = ["analysis.json", "report.md"]
    harmless = torch.tensor(rows.labels)
    frame: Sequence[tuple[Tensor, Tensor]] = list(logits.values())
    try:
        for name, (x, y) in logits.items():
            file = f"scatter-{name}.png"
            draw_scatter(rows.languages, x, y, harmless, f"{analysis.model}, {name}", frame, folder / file)
            written.append(file)
        draw_heat_map(rows.languages, similarity, analysis.model, folder / "languages.png")
        written.append("languages.png")
    except ImportError:
        screen.say("  no pictures, because matplotlib is not installed; pip install 'babelguard[plot]'")
    for part in to_terminal(analysis):
        screen.show(part)
    screen.say("Written: " + "  ".join(str(folder / name) for name in written))
