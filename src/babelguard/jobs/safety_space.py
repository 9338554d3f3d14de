"""The safety space of a run: the layer it uses, and its fit on the anchors, with screen output."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

from babelguard.analysis.layers import best_layer, layer_aurocs
from babelguard.config import Settings
from babelguard.errors import UserError
from babelguard.jobs.prepare import Prepared
from babelguard.method.anchors import Anchors
from babelguard.method.space import SafetySpace, fit_space
from babelguard.screen import Screen
from babelguard.targets import LocalModel


def layer_of_space(prepared: Prepared, model: LocalModel, screen: Screen) -> int | None:
    """Return the layer of the safety space, counted from 1, or None for the state after the final norm.

    Raises:
        UserError: If the model does not have the layer.
    """
    wanted, count = prepared.settings.objective.layer, model.chat.model.config.get_text_config().num_hidden_layers
    if wanted == "last":
        return None
    if wanted != "auto":
        if not 1 <= wanted <= count:
            raise UserError(
                f"`objective.layer` is {wanted}, but this model has {count} layers; choose one from 1 to {count}."
            )
        return wanted
    with screen.progress("layers") as (tick, _):
        found = layer_aurocs(model, prepared.train, prepared.languages, prepared.settings.seed, tick)
    best = best_layer(found)
    means = ", ".join(f"{layer or 'last'} {fmean(values):.2f}" for layer, values in found.items())
    screen.say(f"  mean AUROC by layer: {means}; the safety space uses layer {best or 'last'}")
    return best


def fit_on_anchors(anchors: Anchors, settings: Settings, folder: Path, screen: Screen) -> SafetySpace:
    """Fit the safety space, write it to the run folder and describe it.

    Raises:
        NothingToAlign: If the model refuses (nearly) nothing or (nearly) everything.
    """
    objective = settings.objective
    space = fit_space(
        anchors.states,
        anchors.compliance,
        anchors.harmless,
        dimensions=objective.dimensions,
        harmfulness_folds=objective.harmfulness_folds,
        seed=settings.seed,
    )
    space.save(folder / "safety_space.safetensors")
    refused = float((anchors.compliance == 0).float().mean())
    screen.say(
        f"  {100 * refused:.0f} % of anchor replies are refusals; {len(space.components)} directions explain "
        f"{100 * space.explained:.0f} % of the variance"
    )
    return space
