"""Where results and failures go: one module a kind of file."""

from pipeline.sinks.files import guess_output_format, output_files, stale_files
from pipeline.sinks.write import OUTPUT_FORMATS, WriteFailures, WriteResults

__all__ = [
    "OUTPUT_FORMATS",
    "WriteFailures",
    "WriteResults",
    "guess_output_format",
    "output_files",
    "stale_files",
]
