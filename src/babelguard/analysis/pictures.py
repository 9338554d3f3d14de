"""Plots of an analysis: prompts in the safety space, and the similarity of languages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from babelguard.languages import display_name
from babelguard.report.style import FAINT, STYLE

LABEL_STYLES = ((0, "harmful", "#D55E00", "X"), (1, "harmless", "#0072B2", "o"))


def draw_scatter(
    languages: Sequence[str],
    compliance: Tensor,
    harmlessness: Tensor,
    harmless: Tensor,
    title: str,
    frame: Sequence[tuple[Tensor, Tensor]],
    path: Path,
) -> None:
    """Draw one panel per language. The axes are the logits of the two heads; their zero lines are the decision boundaries.

    Args:
        languages: Language codes, in the order of the first dimension.
        compliance: Logit f_r of every prompt, [L, rows].
        harmlessness: Logit f_h of every prompt, [L, rows].
        harmless: 1 for harmless rows, 0 for harmful rows, [rows].
        title: Title of the plot.
        frame: All pairs (f_r, f_h) that the axes must cover, so that the plots of all defences have the same axes.
        path: The PNG or SVG file to write.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(5, len(languages))
    lines = -(-len(languages) // columns)
    with rc_context(STYLE):
        figure = Figure(figsize=(2.6 * columns, 2.5 * lines + 1.2), dpi=120, facecolor="white", layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).flat
        for number, axes in enumerate(panels):
            if number >= len(languages):
                axes.set_visible(False)
                continue
            axes.axhline(0, color=FAINT, linewidth=0.9, zorder=0)
            axes.axvline(0, color=FAINT, linewidth=0.9, zorder=0)
            for value, label, colour, marker in LABEL_STYLES:
                chosen = harmless == value
                axes.scatter(
                    compliance[number][chosen].numpy(),
                    harmlessness[number][chosen].numpy(),
                    s=18,
                    c=colour,
                    marker=marker,
                    alpha=0.65,
                    linewidths=0,
                    label=label if number == 0 else None,
                )
            axes.set_title(display_name(languages[number]), fontsize=11)
            for place, limit in ((0, axes.set_xlim), (1, axes.set_ylim)):
                low = min(float(pair[place].min()) for pair in frame)
                high = max(float(pair[place].max()) for pair in frame)
                room = 0.06 * max(high - low, 1e-6)
                limit(min(low, 0.0) - room, max(high, 0.0) + room)
        figure.supxlabel("refuses ←  refusal head f_r  → complies", fontsize=12)
        figure.supylabel("harmful ←  harmfulness head f_h  → harmless", fontsize=12)
        figure.suptitle(title, fontsize=13)
        figure.legend(loc="outside upper right", frameon=False, ncols=2)
        path.unlink(missing_ok=True)  # what a link points to is left alone
        figure.savefig(path)


def draw_heat_map(languages: Sequence[str], similarity: Tensor, title: str, path: Path) -> None:
    """Draw the correlation matrix of attack features as a heat map, ordered by average-linkage clustering.

    Args:
        languages: Language codes.
        similarity: Correlations, [L, L], symmetric.
        title: Name of the model.
        path: The PNG or SVG file to write.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from scipy.cluster.hierarchy import dendrogram, linkage
    from scipy.spatial.distance import squareform

    distance = (1 - similarity).clamp_min(0).double()
    distance.fill_diagonal_(0)
    tree = linkage(squareform(((distance + distance.T) / 2).numpy(), checks=False), method="average")
    side = 4.2 + 0.33 * len(languages)
    with rc_context(STYLE):
        figure = Figure(figsize=(side + 1.4, side + 1.2), dpi=120, facecolor="white", layout="constrained")
        FigureCanvasAgg(figure)
        top, main = figure.subplots(2, 1, height_ratios=(1, 5))
        order = dendrogram(tree, ax=top, no_labels=True, color_threshold=0, above_threshold_color=FAINT)["leaves"]
        top.set_axis_off()
        top.set_title(f"{title}: correlation of attack features between languages", fontsize=13)
        ordered = similarity[order][:, order].numpy()
        low = min(0.0, float(similarity.min()))
        image = main.imshow(ordered, cmap="viridis", vmin=low, vmax=1.0, aspect="auto")
        names = [display_name(languages[k]) for k in order]
        main.set_xticks(range(len(order)), [languages[k] for k in order])
        main.set_yticks(range(len(order)), names)
        if len(order) <= 16:
            for row in range(len(order)):
                for column in range(len(order)):
                    value = float(ordered[row, column])
                    colour = "black" if value > low + 0.6 * (1 - low) else "white"
                    main.text(
                        column, row, f"{value:.2f}".lstrip("0"), ha="center", va="center", fontsize=9, color=colour
                    )
        figure.colorbar(image, ax=main, fraction=0.04, pad=0.02)
        path.unlink(missing_ok=True)  # what a link points to is left alone
        figure.savefig(path)
