"""Named-entity recognition, with or without a Beam pipeline.

Each name below is imported at its first use, so that code without Beam does not import Beam.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transforms.aggregation.strategies import AggregationStrategy
    from transforms.beam.model_handler import TokenClassificationModelHandler
    from transforms.beam.ner import ClassifyTokens, GroupEntities
    from transforms.classifier.arguments import TokenClassificationArgumentHandler
    from transforms.classifier.token_classifier import TokenClassifier
    from transforms.documents import Document, DocumentEntities, Entity, Failure
    from transforms.pre_entities import PreEntities
    from transforms.settings import ModelSettings

_HOMES = {
    "AggregationStrategy": "aggregation.strategies",
    "ClassifyTokens": "beam.ner",
    "Document": "documents",
    "DocumentEntities": "documents",
    "Entity": "documents",
    "Failure": "documents",
    "GroupEntities": "beam.ner",
    "ModelSettings": "settings",
    "PreEntities": "pre_entities",
    "TokenClassificationArgumentHandler": "classifier.arguments",
    "TokenClassificationModelHandler": "beam.model_handler",
    "TokenClassifier": "classifier.token_classifier",
}

__all__ = [
    "AggregationStrategy",
    "ClassifyTokens",
    "Document",
    "DocumentEntities",
    "Entity",
    "Failure",
    "GroupEntities",
    "ModelSettings",
    "PreEntities",
    "TokenClassificationArgumentHandler",
    "TokenClassificationModelHandler",
    "TokenClassifier",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
