"""Training of the demo model's adapter: weights of rows, interpolation of the last phase, and batches."""

from __future__ import annotations

import importlib
import random
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

DEMO = Path(__file__).parent.parent / "demo"


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The scripts in `demo`, imported for one test."""
    monkeypatch.syspath_prepend(str(DEMO))
    names = ("obfuscate", "training_rows", "train_adapter")
    yield SimpleNamespace(**{name: importlib.import_module(name) for name in names})
    for name in names:
        sys.modules.pop(name, None)


def test_answered_rows_have_the_weight_of_their_phase(modules: Any, loaded: Any) -> None:
    model, tokenizer = loaded("gemma3")
    rows, script = modules.training_rows, modules.train_adapter
    wrapped = SimpleNamespace(get_base_model=lambda: model)
    phase = rows.Phase(1, (0, 0, 0, 0), 6, 0.0, answers=3.0)

    def loss(*batch: Any) -> float:
        return float(script.batch_loss(wrapped, list(batch)))

    refused = rows.encode(tokenizer, rows.Chat("steal a car", "No.", True), "steal a car", None, phase)
    answered = rows.encode(tokenizer, rows.Chat("wash a car", "Use soap."), "wash a car", None, phase)
    plain = rows.encode(
        tokenizer, rows.Chat("wash a car", "Use soap."), "wash a car", None, phase._replace(answers=1.0)
    )
    assert (refused.weight, answered.weight, plain.weight) == (1.0, 3.0, 1.0)
    assert loss(answered) == pytest.approx(3 * loss(plain), rel=1e-5)
    assert loss(refused, answered) == pytest.approx((loss(refused) + 3 * loss(plain)) / 2, rel=1e-4)


def run(script: ModuleType, folder: Path, output: Path, *more: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    line = ["train_adapter.py", "--base", folder, "--output", output, "--phases", "1", "--rank", "2", *more]
    monkeypatch.setattr(sys, "argv", list(map(str, line)))
    script.main()
    return load_file(output / "adapter_model.safetensors")


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_the_adapter_is_interpolated_as_the_phase_says(
    modules: Any, folders: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, script = modules.training_rows, modules.train_adapter
    made = {}
    for kept in (0.0, 0.5, 1.0):
        monkeypatch.setattr(script, "PHASES", (rows.Phase(2, (1, 1, 1, 1), 4, 0.5, answers=2.0, kept=kept),))
        ends = ("--ends", str(tmp_path / "ends"))
        made[kept] = run(script, folders("gemma3"), tmp_path / f"kept-{kept}", *ends, monkeypatch=monkeypatch)
    moved = [name for name in made[0.0] if not made[0.0][name].equal(made[1.0][name])]
    assert moved
    for name in moved:
        between = (made[0.0][name].float() + made[1.0][name].float()) / 2
        torch.testing.assert_close(made[0.5][name].float(), between, rtol=0.02, atol=1e-4)
    for kept, end in ((0.0, "before"), (1.0, "after")):
        saved = load_file(tmp_path / "ends" / end / "adapter_model.safetensors")
        assert all(saved[name].equal(made[kept][name]) for name in saved)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_an_existing_model_card_is_kept(
    modules: Any, folders: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "README.md").write_text("ours")
    monkeypatch.setattr(modules.train_adapter, "PHASES", (modules.training_rows.Phase(1, (1, 1, 1, 1), 4, 0.5),))
    run(modules.train_adapter, folders("gemma3"), tmp_path / "out", monkeypatch=monkeypatch)
    assert (tmp_path / "out" / "README.md").read_text() == "ours"


def test_twins_share_a_batch_and_no_harmful_request_is_answered(modules: Any) -> None:
    rows = modules.training_rows
    rng = random.Random(0)
    refusals = set(rows.read_lines("refusals.txt"))
    pools = rows.chat_rows(rng)
    partner = {pair[0].prompt: pair[1].prompt for pair in pools[1]}
    for _, batch in zip(range(20), rows.batches(pools, (6, 8, 10, 0), rng), strict=False):
        prompts = {chat.prompt for chat in batch}
        assert len(batch) == 6 + 2 * 8 + 10
        assert all(chat.answer in refusals for chat in batch if chat.harmful)
        assert all(partner[prompt] in prompts for prompt in prompts & partner.keys())
