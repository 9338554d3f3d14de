"""`babelguard.fit`: the main job as a Python function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from babelguard.config import Settings, load_settings
from babelguard.errors import UserError
from babelguard.jobs.defend import Defend
from babelguard.jobs.load_model import with_all_processes
from babelguard.prompt import SafetyPrompt
from babelguard.screen import Screen, Silent


def fit(
    model: str | Settings = "demo",
    *,
    preset: str | None = None,
    languages: str | Sequence[str] | None = None,
    test_languages: str | Sequence[str] | None = None,
    corpus: Path | str | None = None,
    columns: Mapping[str, str] | Sequence[str] | None = None,
    label_column: str | None = None,
    harmful: str | Sequence[str] | None = None,
    prompt: str | None = None,
    start: str | None = None,
    prompt_length: int | None = None,
    steps: int | None = None,
    limit: int | None = None,
    judge: str | None = None,
    judge_model: str | None = None,
    judge_url: str | None = None,
    seed: int | None = None,
    device: str | None = None,
    dtype: str | None = None,
    sharding: str | None = None,
    batch_size: int | None = None,
    revision: str | None = None,
    trust_remote_code: bool | None = None,
    config: Path | str | None = None,
    output: Path | str | None = None,
    reuse: Sequence[Path | str] = (),
    screen: Screen | None = None,
) -> SafetyPrompt:
    """Train a safety prompt for a model, and measure it before and after.

    The same call resumes an interrupted run. If the run is complete, its prompt is loaded. The value of an
    option that is None comes from the configuration file, the preset or the defaults, in this order.

    Args:
        model: Name of a packaged model such as `demo`, a local folder, a hub id, or complete `Settings` (then without other
            options).
        preset: Training method, such as `mcd` (default), `quick`, `dro` or `written`.
        languages: Training languages, or `auto:5`.
        test_languages: Test languages.
        corpus: File or folder of parallel prompts; default: the built-in corpus. A file without splits is split by group.
        columns: Column of the prompts by language, such as `{"en": "goal"}`, if they are not recognised.
        label_column: Column of the labels.
        harmful: Harmful values of the label column; `*` matches any text. All other values are harmless.
        prompt: Written prompt used as baseline: `best`, `long`, `medium`, `short` or your own text.
        start: Written prompt that training starts from.
        prompt_length: Number of soft tokens.
        steps: Training steps.
        limit: Test rows per label and language.
        judge: Name of the judge.
        judge_model: Model of a judge that asks a language model.
        judge_url: OpenAI-compatible endpoint of such a judge.
        seed: Random seed.
        device: See `babelguard.models.devices.choose_device`.
        dtype: See `babelguard.models.devices.choose_dtype`.
        sharding: `none`, or `fsdp` to share the weights between the processes that torchrun has started.
        batch_size: Replies generated together.
        revision: Revision of a hub model.
        trust_remote_code: Allow model code from the hub to run.
        config: TOML file with settings.
        output: Run folder; default: runs/<model>-<preset>-seed<seed>.
        reuse: Runs whose replies are copied if they would be the same.
        screen: Shows progress. Nothing is shown by default.

    Returns:
        The safety prompt, which is also saved in the run folder. With the preset `written`, it is the written prompt as
        vectors. If there are several processes (docs/scale-training.md), all of them return it.

    Raises:
        NothingToAlign: If the model refuses (nearly) nothing or (nearly) everything. It is a `UserError`.
        UserError: If the settings, the model, the corpus or the run folder cannot be used.
    """
    options = {
        "preset": preset,
        "languages": languages,
        "test_languages": test_languages,
        "corpus": corpus,
        "columns": columns,
        "label_column": label_column,
        "harmful": (harmful,) if isinstance(harmful, str) else harmful,
        "prompt": prompt,
        "start": start,
        "prompt_length": prompt_length,
        "steps": steps,
        "limit": limit,
        "judge": judge,
        "judge_model": judge_model,
        "judge_url": judge_url,
        "seed": seed,
        "device": device,
        "dtype": dtype,
        "sharding": sharding,
        "batch_size": batch_size,
        "revision": revision,
        "trust_remote_code": trust_remote_code,
    }
    if isinstance(model, Settings):
        given = [name for name, value in (options | {"config": config}).items() if value is not None]
        if given:
            raise UserError(f"`{given[0]}` cannot be given together with complete settings; put it into the settings.")
        settings = model
    else:
        settings = load_settings({"model": model} | options, None if config is None else Path(config))
    chosen, shown, earlier = settings, screen or Silent(), tuple(map(Path, reuse))
    return with_all_processes(chosen, lambda: Defend(chosen, output, shown, earlier).run())
