"""PreEntities: the model's scores for each token of one document, as columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from transforms.documents import Document

_NO_DOCUMENT = Document(id="", text="")


@dataclass(frozen=True)
class ModelInfo:
    """The checkpoint that made the scores. It must be small, because each document's `PreEntities` contain it.

    Attributes:
        name: The model's name as it was given.
        revision: The commit or content hash of the checkpoint.
        tokenizer: The name or folder of the tokenizer that renders the tokens as words.
        tokenizer_revision: The tokenizer's revision on the hub, or the revision of its cached copy; None if neither
            is set.
        labels: The labels in order of their class ids.
        calibration: The content of the checkpoint's calibration for constrained decoding; None if it has none.
    """

    name: str = ""
    revision: str = ""
    tokenizer: str = ""
    tokenizer_revision: str | None = None
    labels: tuple[str, ...] = ()
    calibration: str | None = None


@dataclass(frozen=True, eq=False)
class PreEntities:
    """The tokens of one document before they are grouped, without special tokens.

    If a document is longer than the model's window, the rows of its windows follow one after the other. A token in the
    overlap of two windows has two rows. A column that is int32 here may also be int64.

    Attributes:
        scores: float32[n_tokens, n_labels], the probability of each label. If `label` is set, float32[n_tokens, 1],
            the probability of that label.
        words: object[n_tokens], the token's string; for the unknown token, the text that it covers.
        start: int32[n_tokens], first code point in the text; None if the tokenizer has no offsets.
        end: int32[n_tokens], code point after the last one; None without offsets.
        index: int32[n_tokens], position in the model's input of its window, special tokens counted.
        is_subword: bool[n_tokens], true if the token continues the word of the token before.
        window_starts: int64[n_windows], first row of each window, ascending.
        window_offsets: int64[n_windows], number of the text's tokens before each window.
        num_tokens: The number of tokens of the whole text, each counted once.
        truncated: True if tokens of the text are in no window.
        document: The document.
        model: The checkpoint that made the scores.
        label: uint8[n_tokens] or a wider integer, the class id of each token's best label, if only its score was
            kept; see `transforms.settings.Scores`. None if the scores of all labels were kept.
    """

    # A text of 8 tokens in two windows of 5:
    #
    #   window 1   t0 t1 t2 t3 t4                       rows 0 to 4    window_starts   [0, 5]
    #   window 2            t3 t4 t5 t6 t7              rows 5 to 9    window_offsets  [0, 3]
    #
    #   rows       t0 t1 t2 t3 t4 t3 t4 t5 t6 t7        num_tokens     8

    scores: np.ndarray
    words: np.ndarray = field(repr=False)
    start: np.ndarray | None
    end: np.ndarray | None
    index: np.ndarray
    is_subword: np.ndarray
    window_starts: np.ndarray = field(default_factory=lambda: np.zeros(1, np.int64))
    window_offsets: np.ndarray = field(default_factory=lambda: np.zeros(1, np.int64))
    num_tokens: int = 0
    truncated: bool = False
    document: Document = _NO_DOCUMENT
    model: ModelInfo = ModelInfo()
    label: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def num_windows(self) -> int:
        """The number of windows that the model read."""
        return len(self.window_starts)

    @classmethod
    def from_dicts(cls, pre_entities: Sequence[Mapping[str, Any]]) -> PreEntities:
        """Return the columns of Hugging Face's list of pre-entities.

        Args:
            pre_entities: Dicts with the keys ``word, scores, start, end, index, is_subword``.
        """
        rows = list(pre_entities)
        has_offsets = bool(rows) and all(row.get(side) is not None for row in rows for side in ("start", "end"))
        scores = np.stack([np.asarray(row["scores"]) for row in rows]) if rows else np.zeros((0, 0), np.float32)
        return cls(
            scores=scores,
            words=object_column([row["word"] for row in rows]),
            start=np.array([row["start"] for row in rows], np.int64) if has_offsets else None,
            end=np.array([row["end"] for row in rows], np.int64) if has_offsets else None,
            index=np.array([row.get("index", position) for position, row in enumerate(rows)], np.int64),
            is_subword=np.array([row.get("is_subword", False) for row in rows], bool),
            num_tokens=len(rows),
        )

    def best(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the class id of each token's best label, the first of equals, and its score: [n_tokens] each."""
        if self.label is not None:
            return self.label, self.scores[:, 0]
        return best_of(self.scores)

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return Hugging Face's list of pre-entities. `scores` are numpy rows; all other values are plain Python.

        Raises:
            ValueError: if the scores of all labels were not kept.
        """
        if self.label is not None:
            raise ValueError(
                "scores='best': keeps one score a token; expected scores='all' for Hugging Face's pre-entities"
            )
        nothing: list[None] = [None] * len(self)
        return [
            {"word": word, "scores": scores, "start": start, "end": end, "index": index, "is_subword": is_subword}
            for word, scores, start, end, index, is_subword in zip(
                self.words.tolist(),
                self.scores,
                nothing if self.start is None else self.start.tolist(),
                nothing if self.end is None else self.end.tolist(),
                self.index.tolist(),
                self.is_subword.tolist(),
                strict=True,
            )
        ]

    def take(self, rows: np.ndarray) -> PreEntities:
        """Return a selection of rows as one window.

        Args:
            rows: int64[n], row numbers in ascending order.
        """
        return replace(
            self,
            scores=self.scores[rows],
            words=self.words[rows],
            start=None if self.start is None else self.start[rows],
            end=None if self.end is None else self.end[rows],
            index=self.index[rows],
            is_subword=self.is_subword[rows],
            window_starts=np.zeros(1, np.int64),
            window_offsets=np.zeros(1, np.int64),
            label=None if self.label is None else self.label[rows],
        )


def object_column(values: Sequence[Any]) -> np.ndarray:
    """Return values as object[len(values)]: one cell a value, even if numpy would make a matrix of them."""
    column = np.empty(len(values), object)
    column[:] = values
    return column


def best_of(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the class id of each row's best label, the first of equals, and its score: int64[n], float[n]."""
    if not scores.size:
        return np.zeros(len(scores), np.int64), np.zeros(len(scores), scores.dtype)
    label = scores.argmax(axis=1)
    return label, scores[np.arange(len(scores)), label]
