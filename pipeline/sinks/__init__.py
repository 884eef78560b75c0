"""Where results and failures go: one module a kind of file."""

from pipeline.sinks.files import guess_output_format, is_shard, output_files, written_files
from pipeline.sinks.write import OUTPUT_FORMATS, WriteFailures, WriteResults

__all__ = [
    "OUTPUT_FORMATS",
    "WriteFailures",
    "WriteResults",
    "guess_output_format",
    "is_shard",
    "output_files",
    "written_files",
]
