"""The names of output files."""

from __future__ import annotations

import re

from apache_beam.io.filesystems import FileSystems

from pipeline.sources.files import compression_ending
from pipeline.sources.formats import FORMATS

ENDINGS: dict[str, tuple[str, ...]] = {name: FORMATS[name].endings for name in ("jsonl", "csv", "avro", "parquet")}
"""The endings of each output format; its first one is given to a prefix that has none."""


def guess_output_format(path: str) -> str:
    """The format that a path names by its ending, `jsonl` if it names none.

    >>> guess_output_format("out/entities"), guess_output_format("gs://b/x.csv.gz")
    ('jsonl', 'csv')
    """
    stem = path.lower().removesuffix(compression_ending(path))
    return next((name for name, endings in ENDINGS.items() if stem.endswith(endings)), "jsonl")


def output_files(output: str, output_format: str, flag: str = "--output") -> tuple[str, str]:
    """The prefix and the suffix of the files `prefix-00000-of-00001suffix`.

    >>> output_files("out/entities", "jsonl"), output_files("out/x.jsonl.gz", "jsonl")
    (('out/entities', '.jsonl'), ('out/x', '.jsonl.gz'))

    Args:
        output: A prefix, or a file's name whose ending is the format's.
        output_format: One of the keys of `ENDINGS`.
        flag: Where `output` was given, for the sentence of a refusal.

    Raises:
        ValueError: If Beam cannot write files of such names.
    """
    if any(wildcard in output for wildcard in "*?["):
        # Beam finds the files it has written with a glob made of the name.
        raise ValueError(f"{flag}={output} must not hold any of * ? [")
    compression = compression_ending(output)
    stem = output[: len(output) - len(compression)]
    ending = next((ending for ending in ENDINGS[output_format] if stem.lower().endswith(ending)), "")
    if ending and compression and not FORMATS[output_format].compresses:
        raise ValueError(f"{flag}={output}: {output_format} files are compressed within; leave out {compression}")
    prefix = stem[: len(stem) - len(ending)] if ending else output
    if not prefix or prefix.endswith(("/", "\\")):
        raise ValueError(f"{flag}={output} must end in a file's name, as in out/entities")
    return prefix, output[len(prefix) :] or ENDINGS[output_format][0]


def stale_files(prefix: str, suffix: str, since: float) -> list[str]:
    """The shards that an earlier run left under the same name.

    A run with fewer shards than the one before overwrites only some of its files; the others would be read with
    the new ones.

    Args:
        prefix: As given by `output_files`.
        suffix: As given by `output_files`.
        since: Seconds since the epoch when this run began; what was last changed before is stale.

    Returns:
        The paths `prefix-NNNNN-of-NNNNNsuffix`, sorted.
    """
    # Beam lists the folder before the first wildcard, and finds nothing in a folder without a name.
    rooted = prefix if "/" in prefix or "\\" in prefix else f"./{prefix}"
    shard = re.compile(re.escape(re.split(r"[/\\]", prefix)[-1]) + r"-\d{5,}-of-\d{5,}" + re.escape(suffix))
    found = FileSystems.match([f"{rooted}-*-of-*{suffix}"])[0].metadata_list
    return sorted(
        file.path
        for file in found
        if file.last_updated_in_seconds < since and shard.fullmatch(re.split(r"[/\\]", file.path)[-1])
    )
