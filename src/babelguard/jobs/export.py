"""Export a run or a safety prompt with an exporter. The folder appears in one rename, so it is complete or absent."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from babelguard.errors import UserError
from babelguard.export import Exporter, Options
from babelguard.export.card import write_card
from babelguard.export.manifest import PROMPT, write_manifest
from babelguard.jobs.open_base import check_prompt, open_base
from babelguard.jobs.open_target import base_of, read_prompt
from babelguard.jobs.upload import Upload, check_upload, push
from babelguard.registry import create, guarded
from babelguard.screen import Screen, Silent


def export(
    run: str,
    to: str,
    output: Path | str,
    *,
    model: str | None = None,
    dtype: str = "checkpoint",
    options: Mapping[str, str] | None = None,
    push_to_hub: str | None = None,
    public: bool = False,
    trust_remote_code: bool = False,
    screen: Screen | None = None,
) -> Path:
    """Export a defended model.

    Args:
        run: A run folder, or a safety prompt's folder or hub id.
        to: Name of the exporter.
        output: Folder to create.
        model: The base model, if it is not at the location recorded in the run.
        dtype: Dtype of the exported weights: `checkpoint` (as the base model is stored), or the name of a dtype.
        options: Options of this exporter alone, by name.
        push_to_hub: Repository on the hub to upload the export to, as USER/NAME.
        public: Let everybody see this repository. By default it is private.
        trust_remote_code: Allow model code from the hub to run.
        screen: Shows progress. Nothing is shown by default.

    Returns:
        The folder.

    Raises:
        UserError: If the prompt, the base model or the exporter cannot be used, or the folder exists or cannot be written.
    """
    screen = screen or Silent()
    exporter: Exporter = create("exporters", to)
    folder = Path(output)
    if folder.exists():
        raise UserError(f"The `output` {folder} already exists; choose another `output` or delete it.")
    found = read_prompt(run)
    if found is None:
        raise UserError(f"{run} is neither a run nor a safety prompt; train a safety prompt and give its run folder.")
    prompt, settings = found
    screen.title(f"Reading the base model of {run}")
    base = open_base(
        model or base_of(prompt, settings),
        revision=settings.get("revision"),
        trust_remote_code=trust_remote_code,
        say=screen.say,
    )
    check_prompt(base, prompt, screen.say)
    upload = None if push_to_hub is None else Upload(push_to_hub, public)
    if upload is not None:
        check_upload(upload, prompt.base_licence or base.licence)
    draft = folder.with_name(f"{folder.name}.part-{os.getpid()}")
    screen.title(f"Exporting to {folder}")
    try:
        remove_stale(folder)
        draft.mkdir(parents=True)
        exported = guarded(
            "exporters", to, exporter.write, base, prompt, draft, screen, Options(dtype, dict(options or {}))
        )
        prompt.save_pretrained(draft / PROMPT)
        write_card(draft, to, base, prompt, exported)
        write_manifest(draft, to, base, prompt, exported)
        os.replace(draft, folder)
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        why = error.strerror or error
        raise UserError(
            f"The export to {folder} could not be written ({why}); free some space or choose another `output`."
        ) from error
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    screen.say(f"Written to {folder}")
    if upload is not None:
        screen.say(f"Uploaded to {push(folder, upload)}")
    return folder


def remove_stale(folder: Path) -> None:
    """Remove the drafts of processes that were killed."""
    name = re.compile(re.escape(folder.name) + r"\.part-(\d+)")
    for path in folder.parent.glob(f"{folder.name}.part-*") if folder.parent.is_dir() else ():
        found = name.fullmatch(path.name)
        if found and not _runs(int(found[1])):
            shutil.rmtree(path, ignore_errors=True)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
