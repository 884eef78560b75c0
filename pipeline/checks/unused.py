"""Rejects flags that have no effect on a run, since a flag that is ignored looks as if it worked."""

from __future__ import annotations

from collections.abc import Mapping

from apache_beam.options.pipeline_options import PipelineOptions

from pipeline.options import NerOptions

_USES: Mapping[str, tuple[str, ...]] = {
    "results in a BigQuery table": ("granularity", "write_method", "write_disposition", "cluster_by_id"),
    "BigQuery tables that are written": ("partition_by_day", "create_disposition"),
    "results in files": ("num_shards",),
    "results in CSV": ("csv_formulas",),
    "streams that write files": ("window_seconds", "allowed_lateness_seconds"),
    "streams": ("max_batch_wait_ms",),
    "input from BigQuery": ("read_method",),
    "CSV": ("csv_escape",),
    "records with fields, such as those of --input_format=csv": ("text_field", "id_field"),
}
"""The flags of the program that only some runs use, by that use."""


def check_used(options: NerOptions, uses: Mapping[str, bool]) -> None:
    """Rejects a flag with another value than its default, if the run does not use it.

    Args:
        options: The flags.
        uses: Whether the run has each of the uses, by their names.

    Raises:
        ValueError: in one sentence with the flag, its value and a valid value.
    """
    defaults = PipelineOptions([]).view_as(NerOptions)
    for use, names in _USES.items():
        for name in () if uses[use] else names:
            value = getattr(options, name)
            if value != getattr(defaults, name):
                raise ValueError(f"--{name}={value}: has no effect on this run; expected none, since it is for {use}")
