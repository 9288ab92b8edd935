"""The Hugging Face hub, as far as task data need it: cached files, current commit, download.

Nothing here decides where data come from (`datasets.data` does), and nothing is imported before it
is needed: most runs never touch the hub.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from longspan.harness.errors import DataError, one_line

REPOSITORY_TYPE = "dataset"


def cache_folder(repository: str) -> str:
    """Returns the name of a repository's folder in the hub's cache layout."""
    return f"datasets--{repository.replace('/', '--')}"


def commit_in_cache(path: Path, repository: str) -> str | None:
    """Returns the commit that a path in the hub's cache layout names, None elsewhere."""
    parts = path.parts
    for place in range(len(parts) - 2):
        if parts[place : place + 2] == (cache_folder(repository), "snapshots"):
            return parts[place + 2]
    return None


def cached_file(repository: str, file: str, revision: str | None) -> Path | None:
    """Returns a file of the hub's own cache, without any request."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repository, file, revision=revision, repo_type=REPOSITORY_TYPE)
    return Path(found) if isinstance(found, str) else None


def current_commit(repository: str) -> str:
    """Returns the commit that the repository's main branch is at.

    Raises:
        DataError: the hub cannot be reached, or there is no such repository.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return str(HfApi().dataset_info(repository).sha)
    except (OSError, ValueError, HfHubHTTPError) as error:
        raise DataError(f"cannot reach {repository} on the hub: {_reason(error)}") from error


def download(
    repository: str, spellings: Sequence[str], revision: str | None, folder: Path | None = None
) -> Path:
    """Returns the downloaded file, under the first of its spellings that the repository has.

    Args:
        repository: The data set.
        spellings: Names of the one file.
        revision: Commit; None: the current one.
        folder: Where it is put; None: into the hub's cache.

    Raises:
        DataError: the hub cannot be reached, or has no such file.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError

    problem: Exception | None = None
    for name in spellings:
        try:
            return Path(
                hf_hub_download(
                    repository,
                    name,
                    revision=revision,
                    repo_type=REPOSITORY_TYPE,
                    local_dir=folder,
                )
            )
        except (OSError, ValueError, HfHubHTTPError, EntryNotFoundError) as error:
            problem = problem or error
            # A hub that cannot be reached is not asked again for every spelling.
            if isinstance(error, FileNotFoundError) or not isinstance(error, EntryNotFoundError):
                break
    reason = _reason(problem) if problem else "no file is named"
    more = f" or {len(spellings) - 1} other spellings" if len(spellings) > 1 else ""
    raise DataError(f"cannot fetch {spellings[0]}{more} of {repository}: {reason}")


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):  # what the library calls a file that it cannot ask for
        return "it is not in the cache, and the hub cannot be reached"
    return one_line(str(error).partition("\n")[0] or type(error).__name__, 160)
