"""`babelguard analyse`: what the languages have in common for one model, before and after a defence."""

from __future__ import annotations

from pathlib import Path

import torch
from pydantic import BaseModel
from torch import Tensor

from babelguard.analysis.coverage import choose_languages, coverage
from babelguard.analysis.features import attack_features, correlation
from babelguard.analysis.pictures import draw_heat_map, draw_scatter
from babelguard.analysis.report import markdown, terminal
from babelguard.analysis.separability import auroc, centre_distance, language_aurocs, worth_training_on
from babelguard.analysis.states import by_twins, states_of
from babelguard.anchors import collect_anchors
from babelguard.corpus import Corpus, load_corpus
from babelguard.defence import Defence
from babelguard.errors import UserError
from babelguard.evaluation.measure import Bench, questions
from babelguard.evaluation.metrics import compute_metrics
from babelguard.evaluation.outcome import Cell
from babelguard.run_folder import open_folder, write_text
from babelguard.screen import Screen, Silent
from babelguard.space import SafetySpace, fit_head, fit_space
from babelguard.target import open_target

ANCHOR_TOKENS = 12


class Standing(BaseModel):
    """One language under one defence.

    Attributes:
        language, defence: Which.
        auroc_english: AUROC of harmless above harmful with the harmfulness head that English anchors gave.
        auroc_own: The same with a head of the language's own on 16 directions of the states, each row held out with its twin.
        distance: From the centre of English, in standard deviations within a language.
        harmful_answered, harmless_refused: Errors of the replies.
    """

    language: str
    defence: str
    auroc_english: float
    auroc_own: float
    distance: float
    harmful_answered: Cell
    harmless_refused: Cell


class Analysis(BaseModel):
    """What `analysis.json` holds.

    Attributes:
        model, split: What was analysed.
        harmful, harmless: Rows of each label in every language.
        explained: Share of the variance of the anchor states that the safety space explains.
        standings: Per language and defence.
        languages, correlation: Pearson's correlation of the attack features between languages, without a prompt.
        recommended: The languages to train on, of those in which the model sees harm, best first: the first k cover
            the others best as a set of k.
        passed_over: Languages that were no candidates, since the model hardly sees harm in them.
        coverage: After each of them, the mean over languages of the correlation to the nearest chosen one.
    """

    model: str
    split: str
    harmful: int
    harmless: int
    explained: float
    standings: list[Standing]
    languages: list[str]
    correlation: list[list[float]]
    recommended: list[str]
    passed_over: list[str]
    coverage: list[float]


def analyse(
    target: str,
    *,
    corpus: Path | None = None,
    split: str = "validation",
    languages: tuple[str, ...] | None = None,
    limit: int | None = None,
    anchor_rows: int = 8,
    model: str | None = None,
    device: str = "auto",
    dtype: str = "auto",
    batch_size: int | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
    output: Path | str | None = None,
    screen: Screen | None = None,
) -> Analysis:
    """Compare languages in a model's safety space; for a run or a safety prompt, before and after it.

    Args:
        target: A model, a run folder or a prompt's folder.
        corpus: Parallel prompts with a train split for the anchors; default: the corpus that ships.
        split: Whose rows are analysed. Choose languages on `validation` or `train`; `test` is for looking.
        languages: Default: all that the split has.
        limit: Rows per label and language.
        anchor_rows: Training rows per label and language that the safety space is fitted on.
        model: The base model, where it lies elsewhere.
        device: See `load_chat_model`.
        dtype: See `load_chat_model`.
        batch_size: Replies at a time.
        revision: Of a hub model.
        trust_remote_code: Run the hub model's own code.
        output: Folder of the log, the numbers and the pictures; default: analyses/<target>-<split>.
        screen: Shows what is going on; silent without one.

    Raises:
        UserError: one sentence for whatever the user can mend.
    """
    screen = screen or Silent()
    whole = load_corpus(corpus)
    rows, anchors = whole.split(split), whole.split("train")
    if not rows.rows or not anchors.rows:
        missing = split if not rows.rows else "train"
        raise UserError(f"The corpus {whole.name} has no rows of the split '{missing}', which the analysis needs.")
    rows = rows.select(languages, limit)
    if "en" not in rows.languages or "en" not in anchors.languages:
        raise UserError("The analysis compares every language with English; add 'en' to the languages.")
    if len(rows.languages) < 2 or min(rows.labels.count(0), rows.labels.count(1)) < 3:
        raise UserError("The analysis needs two languages and three rows of each label; take more of the corpus.")
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
    facts = {"corpus_sha256": whole.digest, "model_fingerprint": chat.weights, "split": split}
    open_folder(folder, "analysis", facts, name="inputs.json")
    bench = Bench(chat, folder, batch_size=batch_size or 32)
    defences = [Defence("none")]
    if opened.prompt is not None:
        defences.append(opened.prompt.defence(chat.tokenizer))
    screen.title("Anchors: how this model refuses")
    codes = tuple(code for code in rows.languages if code in anchors.languages)
    space, english_head = _fit(bench, anchors.select(codes, anchor_rows), codes, screen)

    screen.title(f"{len(rows.rows)} {split} rows in {len(rows.languages)} languages")
    standings: list[Standing] = []
    logits: dict[str, tuple[Tensor, Tensor]] = {}
    harmless = torch.tensor(rows.labels)
    features = torch.empty(0)
    for defence in defences:
        with screen.progress(f"{defence.name}: states") as (tick, _):
            states = states_of(chat, defence, rows, tick)
        if defence.name == "none":
            features = attack_features(*by_twins(rows, states))
        logits[defence.name] = (space.refusal_logit(states), space.harmfulness_logit(states))
        standings += _standings(bench, defence, rows, states, space.project(states), english_head, screen)
    similarity = correlation(features)
    index = [k for k, code in enumerate(rows.languages) if code in anchors.languages]
    own = [one.auroc_own for one in standings if one.defence == "none" and one.language in anchors.languages]
    candidates = [index[k] for k in worth_training_on(own, 1)]
    order = choose_languages(similarity, candidates, min(10, len(candidates)))
    analysis = Analysis(
        model=chat.name,
        split=split,
        harmful=rows.labels.count(0),
        harmless=rows.labels.count(1),
        explained=space.explained,
        standings=standings,
        languages=list(rows.languages),
        correlation=[[round(value, 4) for value in line] for line in similarity.tolist()],
        recommended=[rows.languages[k] for k in order],
        passed_over=[rows.languages[k] for k in index if k not in candidates],
        coverage=[round(coverage(similarity, order[: k + 1]), 4) for k in range(len(order))],
    )
    for line in terminal(analysis):
        screen.show(line)
    write_text(folder / "analysis.json", analysis.model_dump_json(indent=2) + "\n")
    write_text(folder / "report.md", markdown(analysis))
    made = ["analysis.json", "report.md"]
    try:
        for name, (x, y) in logits.items():
            made.append(f"scatter-{name}.png")
            draw_scatter(
                rows.languages, x, y, harmless, f"{chat.name}, {name}", list(logits.values()), folder / made[-1]
            )
        made.append("languages.png")
        draw_heat_map(rows.languages, similarity, chat.name, folder / made[-1])
    except ImportError:
        made = made[:2]
        screen.say("  no pictures: they need matplotlib; pip install 'babelguard[plot]'")
    screen.say("Made  " + "  ".join(str(folder / name) for name in made))
    return analysis


def _fit(
    bench: Bench, anchors: Corpus, codes: tuple[str, ...], screen: Screen
) -> tuple[SafetySpace, tuple[Tensor, float]]:
    """The safety space of all anchors, and a harmfulness head of the English ones alone."""
    asked = questions(anchors, codes, "train")
    with screen.progress("anchor replies") as (tick, _):
        found = collect_anchors(bench, asked, tokens=ANCHOR_TOKENS, tick=tick)
    space = fit_space(found.states, found.compliance, found.harmless)
    english = torch.tensor([question.language == "en" for question in asked]).repeat(len(found.states) // len(asked))
    z = space.project(found.states[english]).double().numpy()
    weight, bias = fit_head(z, found.harmless[english].double().numpy(), folds="ten", seed=0)
    return space, (torch.tensor(weight, dtype=torch.float32), bias)


def _standings(
    bench: Bench,
    defence: Defence,
    rows: Corpus,
    states: Tensor,
    z: Tensor,
    head: tuple[Tensor, float],
    screen: Screen,
) -> list[Standing]:
    asked = questions(rows, rows.languages, rows.rows[0].split or "")
    with screen.progress(f"{defence.name}: replies") as (tick, _):
        scored = bench.ask(defence, asked, tokens=24, tick=tick)
    metrics = compute_metrics(scored, model=bench.chat.name, benchmark="", split="", judge=bench.judge.name, trained=())
    cells = {row.language: row for row in metrics.rows}
    harmless = torch.tensor(rows.labels)
    own = language_aurocs(states, harmless, rows.groups)
    english = z[rows.languages.index("en")]
    return [
        Standing(
            language=code,
            defence=defence.name,
            auroc_english=auroc(z[k] @ head[0] + head[1], harmless),
            auroc_own=own[k],
            distance=centre_distance(z[k], english),
            harmful_answered=cells[code].harmful_answered,
            harmless_refused=cells[code].harmless_refused,
        )
        for k, code in enumerate(rows.languages)
    ]
