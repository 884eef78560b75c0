"""The program's flags and their help; no logic."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from enum import Enum
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from pipeline.io.files.formats.csv import FORMULAS
from pipeline.io.files.settings import CSV_ESCAPES
from transforms.aggregation.settings import EntitySettings
from transforms.settings import HandlerSettings

_SETTINGS = {field.name: field for kind in (HandlerSettings, EntitySettings) for field in dataclasses.fields(kind)}
_TYPES: dict[str, Callable[[str], Any]] = {"int": int, "float": float}


class NerOptions(PipelineOptions):
    """Flags of the NER pipeline, in snake_case like Beam's own."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        _add_input(parser.add_argument_group("input"))
        _add_output(parser.add_argument_group("output"))
        _add_tables(parser.add_argument_group("output to BigQuery"))
        _add_model(parser.add_argument_group("model"))
        _add_entities(parser.add_argument_group("entities"))
        _add_batching(parser.add_argument_group("batching"))


def _add_input(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--input",
        metavar="PLACE",
        nargs="+",
        action="extend",
        help="Files to read: folders, paths or globs on any file system that Beam knows: 'tickets/*.jsonl.gz',"
        " gs://bucket/x-*.csv; several are read as one."
        " Lines of text, JSON, CSV, Avro or Parquet; text may be compressed (.gz, .bz2, .xz, .zst)."
        " Or a BigQuery table: project.dataset.table. Or a Pub/Sub subscription, which is read until the program is"
        " stopped: projects/P/subscriptions/S; or a topic, projects/P/topics/T, by a subscription made for the run (on"
        " Dataflow and the DirectRunner).",
    )
    group.add_argument(
        "--query",
        metavar="SQL",
        help="In place of --input: what to read, as a query in BigQuery's standard SQL; --project pays for it.",
    )
    group.add_argument(
        "--replay",
        metavar="PLACE",
        nargs="+",
        action="extend",
        help="In place of --input: a dead letter whose records are read again, as files (globs), as a table or"
        " by a subscription of its topic, which is read until the program is stopped. --input_format says what the"
        " records are; auto goes by where each came from.",
    )
    group.add_argument(
        "--read_method",
        metavar="METHOD",
        default="DIRECT_READ",
        help="How BigQuery is read: DIRECT_READ, by its Storage API, or EXPORT, by files in --temp_location.",
    )
    group.add_argument(
        "--input_format",
        metavar="FORMAT",
        default="auto",
        help="text (a document a line), whole_text (a document a file), jsonl (also arrays of objects), csv, avro or"
        " parquet; auto goes by the files' ending. Of a Pub/Sub message: text, which is auto, or jsonl, one JSON object"
        " a message.",
    )
    group.add_argument(
        "--encoding",
        metavar="NAME",
        help="The encoding of files of text, JSONL and CSV, such as cp1252 or shift_jis (default: UTF-8, or UTF-16 or"
        " UTF-32 where a file's first bytes show it).",
    )
    group.add_argument(
        "--csv_delimiter",
        metavar="C",
        help="The character between the fields of CSV, or tab (default: the one of , ; tab and | by which the first"
        " line has the column of the text).",
    )
    group.add_argument(
        "--csv_header",
        metavar="NAMES",
        help="The columns of CSV files without a header row, separated by commas (default: the first row).",
    )
    group.add_argument(
        "--csv_escape",
        choices=CSV_ESCAPES,
        default=CSV_ESCAPES[0],
        help='How a quote within quotes is written in CSV: double as "", backslash as \\", or mysql, where also'
        " \\n is a line end and \\N is null, as in the dumps of MySQL and PostgreSQL.",
    )
    group.add_argument(
        "--csv_skip_lines",
        metavar="N",
        type=int,
        default=0,
        help="Lines of a CSV file before its header, such as a title.",
    )
    group.add_argument(
        "--text_field",
        metavar="NAME",
        default="text",
        help="Field or column that holds the text. Dots reach into nested records: message.body. The texts of several"
        " fields, separated by commas, are joined by a blank line.",
    )
    group.add_argument(
        "--id_field",
        metavar="NAME",
        default="id",
        help="Field or column that holds the document's id. A record without one is named by its file and place, a"
        " message by its message id.",
    )
    group.add_argument(
        "--keep_fields",
        metavar="NAMES",
        help="Fields or columns that are passed on to the result, in its column fields, separated by commas; * for all"
        " but those with the text and the id (default: none).",
    )
    group.add_argument(
        "--id_attribute",
        metavar="NAME",
        help="Attribute of a Pub/Sub message that holds the document's id. Messages of the same id within ten minutes"
        " are taken for one (default: the JSON's id field or the message id; messages are the same by their message"
        " id).",
    )
    group.add_argument(
        "--timestamp_attribute",
        metavar="NAME",
        help="Attribute of a Pub/Sub message that holds the event time, as RFC 3339 or epoch milliseconds (default:"
        " the time of publishing).",
    )


def _add_output(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--output",
        metavar="PLACE",
        help="Where the results go: out/entities makes out/entities-00000-of-00001.jsonl and so on. Files of"
        " an earlier run with the same prefix are deleted when this one begins. In streaming, files of a window"
        " each; none is deleted. Or a BigQuery table, project:dataset.table, which is made if it is not there. Or a"
        " Pub/Sub topic, projects/P/topics/T: one message a document, with the document's attributes.",
    )
    group.add_argument(
        "--output_format",
        metavar="FORMAT",
        default="auto",
        help="jsonl, csv (one row an entity), avro or parquet; auto goes by the prefix's ending, else jsonl.",
    )
    group.add_argument(
        "--csv_formulas",
        choices=FORMULAS,
        default=FORMULAS[0],
        help="In CSV, texts that a spreadsheet would run as a formula: escape puts a ' before them, keep leaves them.",
    )
    group.add_argument(
        "--dead_letter",
        metavar="PLACE",
        help="Where records go that could not be read, parsed or classified, as JSONL with the original bytes, as rows"
        " of a BigQuery table, or as messages of a Pub/Sub topic (default: the output's prefix or topic with -failures,"
        " its table with _error_records).",
    )
    group.add_argument(
        "--max_failures",
        metavar="N|P%",
        help="In batch, the most records that may fail, as a number or as a percentage of all. With more, the exit code"
        " is 1, and everything is written all the same (default: any number, if at least one record does not fail).",
    )
    _add_switch(group, "--include_text", "Repeat each document's text in its result.")
    group.add_argument(
        "--num_shards", metavar="N", type=int, default=0, help="Files to write; 0 leaves it to the runner."
    )
    group.add_argument(
        "--ordering_key_attribute",
        metavar="NAME",
        help="Attribute whose value becomes the ordering key of a result's Pub/Sub message (default: no ordering).",
    )
    _add_switch(group, "--keep_ordering_key", "Give a result's Pub/Sub message the ordering key of its own message.")
    group.add_argument(
        "--window_seconds",
        metavar="S",
        type=int,
        default=60,
        help="In streaming to files, the length of event time that one set of files holds.",
    )
    group.add_argument(
        "--allowed_lateness_seconds",
        metavar="S",
        type=int,
        default=0,
        help="In streaming to files, how long after its window late results are gathered before they get a file of"
        " their own. None is ever dropped.",
    )


def _add_tables(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--granularity",
        metavar="KIND",
        default="document",
        help="What a row is: a document, with its entities nested in it, or an entity.",
    )
    group.add_argument(
        "--write_method",
        metavar="METHOD",
        default="auto",
        help="FILE_LOADS, STREAMING_INSERTS or STORAGE_WRITE_API; auto is FILE_LOADS in batch, from files in"
        " --temp_location, and STREAMING_INSERTS in streaming.",
    )
    group.add_argument(
        "--write_disposition",
        metavar="DISPOSITION",
        default="WRITE_APPEND",
        help="WRITE_APPEND adds to the table's rows, WRITE_EMPTY wants none there, WRITE_TRUNCATE replaces them"
        " (FILE_LOADS only).",
    )
    group.add_argument(
        "--create_disposition",
        choices=("CREATE_IF_NEEDED", "CREATE_NEVER"),
        default="CREATE_IF_NEEDED",
        help="Whether tables for results and failures are made where there are none.",
    )
    _add_switch(group, "--partition_by_day", "Partition new tables by the day of processing.")
    _add_switch(group, "--cluster_by_id", "Cluster a new table of results by id.")


def _add_model(group: argparse._ArgumentGroup) -> None:
    _add_setting(group, "model")
    _add_setting(group, "model_revision")
    _add_setting(group, "model_refresh_seconds")
    _add_setting(group, "tokenizer")
    _add_setting(group, "engine")
    _add_setting(group, "device")
    group.add_argument(
        "--accelerator",
        metavar="TYPE",
        help="On Dataflow, the GPU that the model's workers have: nvidia-l4, nvidia-tesla-t4, …, or all that Dataflow"
        " wants to know, as 'type:nvidia-l4;count:1;install-nvidia-driver' (default: none).",
    )
    _add_setting(group, "precision")
    _add_setting(group, "threads")
    _add_setting(group, "allow_pickle_weights")


def _add_entities(group: argparse._ArgumentGroup) -> None:
    _add_setting(group, "aggregation_strategy")
    _add_setting(group, "ignore_labels")
    _add_setting(group, "min_score")
    _add_setting(group, "long_text")
    _add_setting(group, "special_tokens")
    _add_setting(group, "stride")
    _add_setting(group, "max_window_tokens")
    _add_setting(group, "word_boundaries")
    _add_setting(group, "window_join")
    _add_setting(group, "tagging_scheme")
    _add_setting(group, "decoding")
    _add_setting(group, "viterbi_calibration")
    _add_setting(group, "operating_point")
    _add_setting(group, "join_adjacent")
    _add_setting(group, "split_lines")


def _add_batching(group: argparse._ArgumentGroup) -> None:
    _add_setting(group, "max_batch_tokens")
    group.add_argument(
        "--max_batch_wait_ms",
        metavar="MS",
        type=int,
        help="In streaming, how long a document may wait for others to be read with it (default: 100; on the"
        " DirectRunner none, where what has come meanwhile is a batch).",
    )
    _add_setting(group, "max_document_chars")
    _add_setting(group, "batch_timeout_seconds")


def _add_setting(group: argparse._ArgumentGroup, name: str) -> None:
    """Adds a flag with the type, default, choices and help of a field of the settings.

    The flag of a field with a type of our own is text: names separated by commas for a set.
    """
    field = _SETTINGS[name]
    text, default = field.metadata["help"], field.default
    if field.type == "bool":
        _add_switch(group, f"--{name}", text)
        return
    if isinstance(default, frozenset):
        text, default = f"{text.removesuffix('.')}, separated by commas.", ",".join(default)
    elif isinstance(default, Enum):
        default = default.value
    group.add_argument(
        f"--{name}",
        metavar=field.metadata["placeholder"],
        choices=field.metadata["choices"] or None,
        type=_TYPES.get(str(field.type).removesuffix(" | None"), str),
        default=default,
        help=text,
    )


def _add_switch(group: argparse._ArgumentGroup, flag: str, text: str) -> None:
    """Adds a flag that is on if it has no value; launchers of templates always pass a value: true or false."""
    group.add_argument(flag, metavar="true|false", nargs="?", const=True, default=False, type=boolean, help=text)


def boolean(value: str) -> bool:
    """Parses true or false, in upper or lower case.

    >>> boolean("True"), boolean("false")
    (True, False)

    Raises:
        argparse.ArgumentTypeError: for any other value.
    """
    if value.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{value}: unknown; expected true or false")
    return value.lower() == "true"
