"""How shards are encoded on their way to the workers; see `transforms.beam.coders`."""

from __future__ import annotations

from typing import ClassVar

import apache_beam as beam

from pipeline.io.files.matching import Shard
from transforms.beam.coders import Fields, RecordCoder, from_integer, from_text, to_integer, to_text


def _shard_fields(shard: Shard) -> Fields:
    # A file's name need not be UTF-8; what is not is held as lone surrogates.
    return [from_text(shard.path), from_integer(shard.start), from_integer(shard.end)]


def _shard(fields: Fields) -> Shard:
    path, start, end = fields
    return Shard(to_text(path), to_integer(start), to_integer(end))


class ShardCoder(RecordCoder):
    """Encodes `Shard`."""

    record = Shard
    fields = staticmethod(_shard_fields)
    layouts: ClassVar = {1: _shard}


beam.coders.registry.register_coder(Shard, ShardCoder)
