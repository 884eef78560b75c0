"""The configuration and tokenizer of a model, checked before its weights are loaded."""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transforms.aggregation.calibration import CALIBRATION_FILE, read_calibration
from transforms.aggregation.rules import EntityRules
from transforms.aggregation.strategies import AggregationStrategy
from transforms.checkpoints.config import read_config
from transforms.checkpoints.files import Checkpoint, check_weights
from transforms.checkpoints.manifest import check_manifest
from transforms.checkpoints.resolve import resolve
from transforms.errors import ArgumentError, first_line
from transforms.inference.windows import Lengths
from transforms.labels import dense_labels
from transforms.settings import ModelSettings, WordBoundaries, as_integer
from transforms.tokenization.registry import load_tokenization, own_tokenization, tokenizer_folder
from transforms.tokenization.tokenizer import Tokenization

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class ModelSetup:
    """A checkpoint with its configuration and tokenizer.

    Attributes:
        checkpoint: The checkpoint.
        config: The checkpoint's `PretrainedConfig`.
        tokenization: The checkpoint's tokenizer, or the one in the settings.
        tokenizer_name: The name by which a worker finds that tokenizer.
        tokenizer_revision: The revision of that tokenizer, if one is needed.
        window: The most tokens of a window of a long text, special tokens counted.
        truncated: The number of tokens to which a text is truncated, special tokens counted; None is no limit.
        word_boundaries: The rule that begins a word; see `ModelSettings`.
        calibration: The content of its calibration for constrained decoding; None if it has none.
    """

    checkpoint: Checkpoint
    config: Any
    tokenization: Tokenization
    tokenizer_name: str
    tokenizer_revision: str | None
    window: int
    truncated: int | None = None
    word_boundaries: WordBoundaries = "hf"
    calibration: str | None = None

    @classmethod
    def load(
        cls,
        settings: ModelSettings,
        *,
        checkpoint: Checkpoint | None = None,
        tokenizer: Any = None,
        weights: bool = True,
    ) -> ModelSetup:
        """Finds a checkpoint and reads the files beside its weights.

        Args:
            settings: The settings.
            checkpoint: The checkpoint, if it was found already.
            tokenizer: A tokenizer of transformers to use instead of the one in the settings.
            weights: Whether to download the weights too.

        Raises:
            ArgumentError: if there is no such model, or it is not a token classifier.
        """
        allow_pickle_weights, special_tokens = settings.allow_pickle_weights, settings.special_tokens
        if checkpoint is None:
            checkpoint = resolve(
                settings.model, settings.model_revision, weights=weights, allow_pickle_weights=allow_pickle_weights
            )
        check_manifest(checkpoint, weights=weights)
        read_config(checkpoint)
        if weights or Path(checkpoint.name).is_dir():
            check_weights(checkpoint, allow_pickle_weights=allow_pickle_weights)
        config = _load_config(checkpoint)
        if tokenizer is not None and not hasattr(tokenizer, "name_or_path"):
            raise ArgumentError(
                f"tokenizer: of type {type(tokenizer).__name__}; expected a name, a folder or a tokenizer of"
                " transformers"
            )
        if tokenizer is not None:
            name, revision = tokenizer.name_or_path, None
            tokenization = own_tokenization(tokenizer, special_tokens)
        elif settings.tokenizer is not None:
            name, revision = settings.tokenizer, None
            folder = tokenizer_folder(name, None)
            tokenization = _load_tokenization("tokenizer", name, revision, folder, special_tokens)
        else:
            name, revision = checkpoint.name, checkpoint.tokenizer_revision or settings.model_revision
            tokenization = _load_tokenization("model", name, revision, checkpoint.folder, special_tokens)
        tokenization.check_inputs(checkpoint.name)
        check_vocabulary(checkpoint, config, tokenization)
        lengths = Lengths.of(config, tokenization.model_max_length, settings.max_window_tokens)
        if settings.word_boundaries == "tokenizer":
            tokenization.check_words()
        return cls(
            checkpoint,
            config,
            tokenization,
            tokenizer_name=name,
            tokenizer_revision=revision,
            window=lengths.window,
            truncated=lengths.truncated,
            word_boundaries=settings.word_boundaries,
            calibration=_load_calibration(checkpoint),
        )

    @property
    def labels(self) -> tuple[str, ...]:
        """The label of each class in the checkpoint's configuration."""
        return dense_labels(self.config.id2label, self.config.num_labels)

    @property
    def capacity(self) -> int:
        """The number of text tokens that fit in a window beside the special tokens."""
        return self.window - self.tokenization.template.num_special

    def stride(self, stride: int | None) -> int:
        """Return the number of tokens that neighbouring windows share; by default a quarter of a window's capacity.

        Raises:
            ValueError: if windows cannot advance with this stride, or have no room for text.
        """
        special = self.tokenization.template.num_special
        if self.capacity < 1:
            raise ArgumentError(
                f"model={self.checkpoint.name!r}: its window of {self.window} tokens is too small;"
                f" expected more than {special} special tokens"
            )
        if stride is None:
            return self.capacity // 4
        stride = as_integer("stride", stride)
        if not 0 <= stride < self.capacity:
            raise ArgumentError(
                f"stride={stride}: out of range; expected at least 0 and below {self.capacity}, the window of"
                f" {self.window} tokens less {special} special tokens"
            )
        return stride

    def check_rules(self, rules: EntityRules) -> None:
        """Checks that rules fit the model's tokenizer, its labels and its calibration.

        Raises:
            ArgumentError: if they do not.
        """
        self._check_strategy(rules.strategy)
        rules.label_scheme(self.labels)
        path = self.checkpoint.folder / CALIBRATION_FILE
        if rules.uses_model_calibration and self.calibration is None and path.is_file():
            read_calibration(path)  # raises the error that was only logged so far
        rules.decode(self.labels, self.calibration)

    def _check_strategy(self, strategy: AggregationStrategy) -> None:
        """Warns if the tokenizer does not mark subwords, so that the starts of words are guessed.

        Raises:
            ValueError: if the strategy needs words and the tokenizer is slow.
        """
        if not strategy.by_word:
            return
        if not self.tokenization.is_fast:
            raise ArgumentError(
                f"aggregation_strategy={strategy.value!r}: requires a fast tokenizer, and"
                f" {type(self.tokenization.tokenizer).__name__} is slow and cannot handle subwords;"
                " expected simple or none"
            )
        if not self.tokenization.knows_words and self.word_boundaries == "hf":
            warnings.warn("Tokenizer does not support real words, using fallback heuristic", UserWarning, stacklevel=4)


def _load_tokenization(
    argument: str, name: str, revision: str | None, folder: Path, special_tokens: str
) -> Tokenization:
    try:
        return load_tokenization(name, revision, folder, special_tokens)
    except ValueError as error:
        raise ArgumentError(f"{argument}={name!r}: {error}") from error


def _load_calibration(checkpoint: Checkpoint) -> str | None:
    """Return the content of the checkpoint's calibration; None if it has none, or a broken one, which is logged."""
    path = checkpoint.folder / CALIBRATION_FILE
    if not path.is_file():
        return None
    try:
        return read_calibration(path)
    except ArgumentError as error:
        _logger.warning("model=%r: its calibration is not used: %s", checkpoint.name, error)
        return None


def _load_config(checkpoint: Checkpoint) -> Any:
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(str(checkpoint.folder), local_files_only=True, trust_remote_code=False)
    except Exception as error:
        raise ArgumentError(
            f"model={checkpoint.name!r}: transformers cannot read the configuration: {first_line(error)}"
        ) from error


def check_vocabulary(checkpoint: Checkpoint, config: Any, tokenization: Tokenization) -> None:
    """Checks that the model's vocabulary includes all ids that its tokenizer can return.

    Raises:
        ValueError: if it does not.
    """
    size = getattr(config.get_text_config(), "vocab_size", None)
    if isinstance(size, int) and tokenization.largest_id >= size:
        raise ArgumentError(
            f"model={checkpoint.name!r}: its vocabulary of {size} tokens does not fit the tokenizer;"
            f" expected more than {tokenization.largest_id}, the largest id of a token"
        )
