"""Checkpoints of the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path

from transforms.checkpoints.files import MANIFEST, TOKENIZER_FILES, Checkpoint
from transforms.errors import ArgumentError

_HUB_TIMEOUT = 5.0  # seconds


def find_on_hub(model: str, revision: str | None, *, weights: bool, allow_pickle_weights: bool) -> Checkpoint:
    """Downloads a checkpoint from the hub, or finds it in the local cache if the hub cannot be reached.

    Args:
        model: The id of the model.
        revision: Branch, tag or commit; None for the default branch.
        weights: Whether to include the weights.
        allow_pickle_weights: Whether to download pickled weights if there are no others.

    Raises:
        ArgumentError: if there is no such model or revision, it is gated, or it is neither reachable nor cached.
    """
    from huggingface_hub import HfApi, constants, errors, snapshot_download

    try:
        if constants.HF_HUB_OFFLINE:
            raise ConnectionError
        # One request without retries, so that a wrong name is reported at once.
        info = HfApi().model_info(model, revision=revision, timeout=_HUB_TIMEOUT)
        files = [sibling.rfilename for sibling in info.siblings or []]
        patterns = [*TOKENIZER_FILES, MANIFEST] + (_weight_files(files, allow_pickle_weights) if weights else [])
        # Downloaded by its name, so that the cache contains it under this name when the hub cannot be reached.
        folder = Path(snapshot_download(model, revision=revision, allow_patterns=patterns))
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


def _from_hub_cache(model: str, revision: str | None, error: Exception, *, weights: bool) -> Path:
    from huggingface_hub import snapshot_download

    # Only a part of the repository was downloaded; without these patterns it would count as incomplete.
    patterns = TOKENIZER_FILES + (["*.safetensors"] if weights else [])
    try:
        return Path(snapshot_download(model, revision=revision, allow_patterns=patterns, local_files_only=True))
    except Exception:
        raise ArgumentError(
            f"model={model!r}: not a folder here, not in the local cache, and not available from the"
            f" Hugging Face hub ({type(error).__name__})"
        ) from None


def _weight_files(files: list[str], allow_pickle_weights: bool) -> list[str]:
    if any(file.endswith(".safetensors") and "/" not in file for file in files):
        return ["*.safetensors"]
    if any(file.endswith(".onnx") for file in files):
        return ["*.onnx", "*.onnx_data", "onnx/*"]
    return ["pytorch_model*.bin"] if allow_pickle_weights else []
