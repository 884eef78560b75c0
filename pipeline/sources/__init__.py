"""Where documents come from: one module a kind of file."""

from pipeline.sources.files import match_files
from pipeline.sources.formats import (
    INPUT_FORMATS,
    UnreadableFileError,
    check_text_field,
    guess_input_format,
    peek_columns,
)
from pipeline.sources.read import ReadDocuments, ReadResult

__all__ = [
    "INPUT_FORMATS",
    "ReadDocuments",
    "ReadResult",
    "UnreadableFileError",
    "check_text_field",
    "guess_input_format",
    "match_files",
    "peek_columns",
]
