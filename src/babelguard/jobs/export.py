"""Export a run or a safety prompt with an exporter. The folder appears in one rename, so it is complete or absent."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from babelguard.errors import UserError, cannot_write
from babelguard.export import Exporter
from babelguard.jobs.open_target import open_target
from babelguard.registry import create, guarded
from babelguard.screen import Screen, Silent


def export(
    run: str,
    to: str,
    output: Path | str,
    *,
    model: str | None = None,
    device: str = "cpu",
    dtype: str = "checkpoint",
    trust_remote_code: bool = False,
    screen: Screen | None = None,
) -> Path:
    """Export a defended model.

    Args:
        run: A run folder, or a safety prompt's folder or hub id.
        to: Name of the exporter.
        output: Folder to create.
        model: The base model, if it is not at the location recorded in the run.
        device: See `babelguard.models.devices.choose_device`.
        dtype: See `babelguard.models.devices.choose_dtype`.
        trust_remote_code: Allow model code from the hub to run.
        screen: Shows progress. Nothing is shown by default.

    Returns:
        The folder.

    Raises:
        UserError: If the target or the exporter cannot be used, or the folder exists or cannot be written.
    """
    screen = screen or Silent()
    exporter: Exporter = create("exporters", to)
    folder = Path(output)
    if folder.exists():
        raise UserError(f"The `output` {folder} already exists; choose another `output` or delete it.")
    screen.title(f"Loading {run}")
    opened = open_target(
        run, model=model, device=device, dtype=dtype, trust_remote_code=trust_remote_code, say=screen.say
    )
    if opened.prompt is None:
        raise UserError(f"{run} is neither a run nor a safety prompt; train a safety prompt and give its run folder.")
    draft = folder.with_name(f"{folder.name}.part-{os.getpid()}")
    screen.title(f"Exporting to {folder}")
    try:
        draft.mkdir(parents=True)
        guarded("exporters", to, exporter.write, opened.chat, opened.prompt, draft, screen)
        os.replace(draft, folder)
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise UserError(cannot_write(folder, error)) from error
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    screen.say(f"Written to {folder}")
    return folder
