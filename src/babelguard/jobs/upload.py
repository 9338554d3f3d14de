"""Upload an export to the Hugging Face hub. The local folder is complete before and stays whatever happens."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from huggingface_hub import HfApi, get_token
from huggingface_hub.errors import RepositoryNotFoundError
from huggingface_hub.utils._validators import validate_repo_id

from babelguard.errors import UserError
from babelguard.export.licences import terms_of
from babelguard.export.manifest import MANIFEST

# Files that the hub puts into a new repository.
INITIAL = {".gitattributes", "README.md", "LICENSE"}


class Upload(NamedTuple):
    """Where an export is uploaded to.

    Attributes:
        repo: The repository, as USER/NAME.
        public: Whether everybody may see it.
    """

    repo: str
    public: bool = False


def check_upload(upload: Upload, licence: str | None) -> None:
    """Check what can be checked before the export: the name, the login, and that nothing else would be overwritten.

    Args:
        upload: Where to upload.
        licence: The licence of the base model, if known.

    Raises:
        UserError: If the repository cannot be used.
    """
    owner, sign, name = upload.repo.partition("/")
    try:
        validate_repo_id(upload.repo)
    except ValueError as error:
        raise UserError(f"'{upload.repo}' is not the name of a repository; set `push_to_hub` to USER/NAME.") from error
    if not (owner and sign and name):
        raise UserError(f"'{upload.repo}' has no owner; set `push_to_hub` to USER/NAME.")
    prefix = terms_of(licence).prefix
    if not name.startswith(prefix):
        raise UserError(
            f"The licence of the base model ({licence}) requires a name that begins with {prefix}; set `push_to_hub` to "
            f"{owner}/{prefix}-{name}."
        )
    if get_token() is None:
        raise UserError(
            "There is no token for the hub; run 'hf auth login', or set HF_TOKEN to a token with write access."
        )
    try:
        found = HfApi().model_info(upload.repo)
    except RepositoryNotFoundError:
        return
    except Exception as error:  # the hub client raises many kinds of errors
        raise UserError(
            f"The repository {upload.repo} could not be checked ({_reason(error)}); try again later."
        ) from error
    if not found.private and not upload.public:
        raise UserError(
            f"The repository {upload.repo} is public; set `public` if everybody may see the export, or choose another "
            "`push_to_hub`."
        )
    files = {sibling.rfilename for sibling in found.siblings or ()}
    if MANIFEST not in files and files - INITIAL:
        raise UserError(
            f"The repository {upload.repo} has other files and is not an export of babelguard; choose another `push_to_hub`."
        )


def push(folder: Path, upload: Upload) -> str:
    """Upload a complete export. Files of an older export that the new one does not have are deleted.

    Returns:
        The address of the repository.

    Raises:
        UserError: Saying how to repeat the upload.
    """
    try:
        api = HfApi()
        address = api.create_repo(upload.repo, private=not upload.public, exist_ok=True)
        api.upload_folder(
            repo_id=upload.repo, folder_path=folder, commit_message="Upload of a babelguard export", delete_patterns="*"
        )
    except Exception as error:  # the hub client raises many kinds of errors
        private = "" if upload.public else " --private"
        raise UserError(
            f"The export in {folder} is complete, but was not uploaded to {upload.repo} ({_reason(error)}); repeat the upload "
            f"with 'hf upload {upload.repo} {folder} .{private}'."
        ) from error
    return str(address)


def _reason(error: Exception) -> str:
    """Return the first sentence of an error without the token, should a library have written it."""
    text = " ".join(str(error).split()) or type(error).__name__
    token = get_token()
    return (text.replace(token, "***") if token else text)[:200].rstrip(".")
