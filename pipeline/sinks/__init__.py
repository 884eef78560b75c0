"""Files of results and failures: one module a kind of file."""

from pipeline.sinks.files import (
    delete_folder,
    guess_output_format,
    is_shard,
    output_files,
    temporary_folders,
    written_files,
)
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
    "delete_folder",
    "guess_output_format",
    "is_shard",
    "output_files",
    "temporary_folders",
    "window_files",
    "written_files",
]
