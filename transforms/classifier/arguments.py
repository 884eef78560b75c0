"""The arguments of a call, interpreted as by Hugging Face's pipeline."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from typing import Any

from transforms.aggregation.strategies import AggregationStrategy

Offsets = list[tuple[int, int]]


class TokenClassificationArgumentHandler:
    """Sorts the arguments of a token-classification call.

    Example:
        >>> TokenClassificationArgumentHandler()("Ann lives in Rome")
        (['Ann lives in Rome'], False, None, None)
    """

    def __call__(
        self,
        inputs: Any,
        *,
        is_split_into_words: bool = False,
        delimiter: str | None = None,
        offset_mapping: Any = None,
        **_: Any,
    ) -> tuple[Any, bool, list[Offsets] | None, str | None]:
        """Normalises one call.

        Args:
            inputs: A text, or a list (or tuple) of texts; words if `is_split_into_words`. An iterator and a data set
                of PyTorch (``KeyDataset``, for example) are returned as they are.
            is_split_into_words: Whether the inputs are words already.
            delimiter: The string between words that are joined to a text.
            offset_mapping: The character range of each token, of one text or of each text.

        Returns:
            The inputs as a list, `is_split_into_words`, a list of offset mappings or None, `delimiter`.

        Raises:
            ValueError: if there is no input, or if the number of offset mappings is not that of the inputs.
        """
        if isinstance(inputs, Iterator) or _is_data_set(inputs):
            return inputs, is_split_into_words, None, delimiter
        if isinstance(inputs, str):
            inputs = [inputs]
        elif isinstance(inputs, (list, tuple)) and len(inputs) > 0:
            inputs = list(inputs)
        else:
            raise ValueError("At least one input is required.")
        if offset_mapping:
            if isinstance(offset_mapping, list) and isinstance(offset_mapping[0], tuple):
                offset_mapping = [offset_mapping]
            if len(offset_mapping) != len(inputs):
                raise ValueError("offset_mapping should have the same batch size as the input")
        return inputs, is_split_into_words, offset_mapping or None, delimiter


def _is_data_set(inputs: Any) -> bool:
    torch_data = sys.modules.get("torch.utils.data")  # loaded already if `inputs` is such a data set
    return torch_data is not None and isinstance(inputs, torch_data.Dataset)


def resolve_strategy(
    aggregation_strategy: str | AggregationStrategy,
    grouped_entities: bool | None = None,
    ignore_subwords: bool | None = None,
) -> AggregationStrategy:
    """Return the strategy for the arguments, including those of older releases of transformers.

    `grouped_entities` meant ``simple``, and ``first`` together with `ignore_subwords`. Both are accepted with a warning
    and take precedence, as in those releases.
    """
    if grouped_entities is None and ignore_subwords is None:
        return AggregationStrategy.parse(aggregation_strategy)
    if grouped_entities:
        strategy = AggregationStrategy.FIRST if ignore_subwords else AggregationStrategy.SIMPLE
    else:
        strategy = AggregationStrategy.NONE
    for name, value in (("grouped_entities", grouped_entities), ("ignore_subwords", ignore_subwords)):
        if value is not None:
            warnings.warn(
                f"`{name}` is deprecated, use `aggregation_strategy={strategy.value!r}` instead.",
                FutureWarning,
                stacklevel=3,
            )
    return strategy
