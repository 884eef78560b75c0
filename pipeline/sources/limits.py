"""What one record may take, so that no file can take all memory."""

from __future__ import annotations

MAX_RECORD_BYTES = 256 * 1024 * 1024
"""Bytes of the longest line or record of CSV, and of the largest block of Avro; of more no more is held. A document of
as many characters as `--max_document_chars` has by default needs less than half of it, even escaped in JSON."""

MAX_RECORD_VALUES = 10_000_000
"""Values of a record of JSON or CSV, for a value of two bytes takes a hundred once it is parsed. Commas and the like
are counted in texts too; but of a text's characters they are few."""


class UnreadableError(Exception):
    """A file that cannot be read (further); the message quotes nothing of what the file holds."""
