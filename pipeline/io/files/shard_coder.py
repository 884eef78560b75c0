"""The coder of shards on their way to the workers; see `transforms.beam.coders`."""

from __future__ import annotations

from typing import ClassVar

import apache_beam as beam

from pipeline.io.files.matching import Shard
from transforms.beam.coders import INTEGER, TEXT, Layout, RecordCoder


class ShardCoder(RecordCoder):
    """Encodes `Shard`; a path that is not UTF-8 has lone surrogates, which survive."""

    record = Shard
    layouts: ClassVar = {1: Layout(Shard, {"path": TEXT, "start": INTEGER, "end": INTEGER})}


beam.coders.registry.register_coder(Shard, ShardCoder)
