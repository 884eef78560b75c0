"""Where results and failures go: one module a kind of file."""

from pipeline.sinks.files import guess_output_format, is_shard, output_files, written_files
from pipeline.sinks.window_names import window_files
from pipeline.sinks.windowed import WriteWindowedFailures, WriteWindowedResults
from pipeline.sinks.write import OUTPUT_FORMATS, WriteFailures, WriteResults
from pipeline.sinks.written import Written

__all__ = [
    "OUTPUT_FORMATS",
    "WriteFailures",
    "WriteResults",
    "WriteWindowedFailures",
    "WriteWindowedResults",
    "Written",
    "guess_output_format",
    "is_shard",
    "output_files",
    "window_files",
    "written_files",
]
