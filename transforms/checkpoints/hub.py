"""Checkpoints of the Hugging Face hub."""

from __future__ import annotations

import email.utils
import logging
import random
import time
from collections.abc import Callable
from pathlib import Path

import tenacity

from transforms.checkpoints.files import MANIFEST, TOKENIZER_FILES, Checkpoint
from transforms.errors import ArgumentError

_HUB_TIMEOUT = 5.0  # seconds
_ATTEMPTS = 4
_LONGEST_WAIT = 60.0  # seconds
_TOO_MANY_REQUESTS, _SERVER_ERROR = 429, 500

_logger = logging.getLogger(__name__)


def find_on_hub(model: str, revision: str | None, *, weights: bool, allow_pickle_weights: bool) -> Checkpoint:
    """Downloads a checkpoint from the hub, or finds it in the local cache if the hub cannot be reached.

    An answer that the hub is too busy, or has an error of its own, is retried a few times. The wait is the one that the
    hub asks for, with a random part: the workers of a job start together, and should not return together.

    Args:
        model: The id of the model.
        revision: Branch, tag or commit; None for the default branch.
        weights: Whether to include the weights.
        allow_pickle_weights: Whether to download pickled weights if there are no others.

    Raises:
        ArgumentError: if there is no such model or revision, it is gated, or it is neither reachable nor cached.
    """
    from huggingface_hub import errors

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception(_is_transient),
        stop=tenacity.stop_after_attempt(_ATTEMPTS),
        wait=_wait,
        before_sleep=_log_wait(model),
        sleep=time.sleep,
        reraise=True,
    )
    try:
        if _is_offline():
            raise ConnectionError
        folder = retrying(_download, model, revision, weights=weights, allow_pickle_weights=allow_pickle_weights)
    except errors.GatedRepoError:
        raise ArgumentError(
            f"model={model!r}: gated; expected its terms accepted on the hub, and HF_TOKEN set"
        ) from None
    except errors.RevisionNotFoundError:
        raise ArgumentError(f"model_revision={revision!r}: does not exist for model={model!r} on the hub") from None
    except (errors.RepositoryNotFoundError, errors.HFValidationError):
        raise ArgumentError(
            f"model={model!r}: neither a folder here nor a model on the Hugging Face hub"
            " (a private one requires HF_TOKEN)"
        ) from None
    except Exception as error:
        folder = _from_hub_cache(model, revision, error, weights=weights)
    return Checkpoint(model, folder.name, folder)


def _download(model: str, revision: str | None, *, weights: bool, allow_pickle_weights: bool) -> Path:
    from huggingface_hub import HfApi, snapshot_download

    # One request without retries, so that a wrong name is reported at once.
    info = HfApi().model_info(model, revision=revision, timeout=_HUB_TIMEOUT)
    files = [sibling.rfilename for sibling in info.siblings or []]
    patterns = [*TOKENIZER_FILES, MANIFEST] + (_weight_files(files, allow_pickle_weights) if weights else [])
    # Downloaded by its name, so that the cache contains it under this name when the hub cannot be reached.
    return Path(snapshot_download(model, revision=revision, allow_patterns=patterns))


def _from_hub_cache(model: str, revision: str | None, error: Exception, *, weights: bool) -> Path:
    from huggingface_hub import snapshot_download

    # Only a part of the repository was downloaded; without these patterns it would count as incomplete.
    patterns = TOKENIZER_FILES + (["*.safetensors"] if weights else [])
    problem = _problem(error)
    try:
        folder = Path(snapshot_download(model, revision=revision, allow_patterns=patterns, local_files_only=True))
    except Exception:
        raise ArgumentError(
            f"model={model!r}: not a folder here, not in the local cache of the Hugging Face hub, and {problem}"
        ) from None
    if not _is_offline():
        _logger.warning("model=%r: revision %s of the local cache, since %s", model, folder.name, problem)
    return folder


def _problem(error: BaseException) -> str:
    """Return the reason for which the hub gave no model, as a part of a sentence."""
    status = _status(error)
    if status == _TOO_MANY_REQUESTS:
        return "the hub answered 429, too many requests; expected HF_TOKEN set, or a copy of the model in a folder"
    if status is not None and status >= _SERVER_ERROR:
        return f"the hub answered {status}, an error of its own; expected another try later"
    if status == 401:
        return "the hub answered 401, since HF_TOKEN is not valid; expected another token, or none"
    if status == 403:
        return "the hub answered 403, since HF_TOKEN gives no access; expected a token that may read the model"
    if status is not None:
        return f"the hub answered {status}"
    return "HF_HUB_OFFLINE is set" if _is_offline() else f"the hub cannot be reached ({type(error).__name__})"


def _is_offline() -> bool:
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def _status(error: BaseException | None) -> int | None:
    """Return the HTTP status of an error or of its causes; None if there is none."""
    while error is not None:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status is not None:
            return int(status)
        error = error.__cause__ or error.__context__
    return None


def _is_transient(error: BaseException) -> bool:
    status = _status(error)
    return status is not None and (status == _TOO_MANY_REQUESTS or status >= _SERVER_ERROR)


def _wait(state: tenacity.RetryCallState) -> float:
    """Return the seconds to wait: those that the hub asks for, or twice as many as before, and up to half as many."""
    error = state.outcome.exception() if state.outcome else None
    seconds = _asked_seconds(error)
    if seconds is None:
        seconds = 2.0 ** (state.attempt_number - 1)
    return min(_LONGEST_WAIT, seconds) * random.uniform(1.0, 1.5)


def _asked_seconds(error: BaseException | None) -> float | None:
    """Return the seconds in the header Retry-After, which is a number or a date; None if there is none."""
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    value = headers.get("Retry-After", "")
    if value.isdigit():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None


def _log_wait(model: str) -> Callable[[tenacity.RetryCallState], None]:
    def log(state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        _logger.warning(
            "model=%r: the hub answered %s; next try in %.0f s", model, _status(error), state.upcoming_sleep
        )

    return log


def _weight_files(files: list[str], allow_pickle_weights: bool) -> list[str]:
    if any(file.endswith(".safetensors") and "/" not in file for file in files):
        return ["*.safetensors"]
    if any(file.endswith(".onnx") for file in files):
        return ["*.onnx", "*.onnx_data", "onnx/*"]
    return ["pytorch_model*.bin"] if allow_pickle_weights else []
