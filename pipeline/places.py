"""The places that an input or output path can name: files, a BigQuery table, a Pub/Sub subscription or topic."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

_PROJECT = r"(?:[\w.-]+:)?[a-z][a-z0-9-]*"  # a domain's project begins with the domain: example.com:project
_TABLE = re.compile(rf"(?P<project>{_PROJECT}):(?P<dataset>\w+)\.(?P<table>[\w$-]+)")
# As in standard SQL. A file's name can look the same, so a name with the ending of a file is never a table.
_STANDARD_TABLE = re.compile(r"(?P<project>[a-z][a-z0-9-]{4,28}[a-z0-9])\.(?P<dataset>\w+)\.(?P<table>[\w$-]+)")
_FILE_ENDING = re.compile(r"(?i).*\.(txt|text|log|jsonl|ndjson|json|csv|tsv|avro|parquet|pq|gz|bz2|xz|zst|zip)")
_PUBSUB = re.compile(r"projects/(?P<project>[^/]+)/(?P<kind>subscriptions|topics)/(?P<name>[^/]+)")


@dataclass(frozen=True)
class Files:
    """A path, a prefix or a glob on any file system that Beam supports; as an input, also several of them.

    Attributes:
        path: The path, or the first of several.
        others: The other paths.
    """

    path: str
    others: tuple[str, ...] = ()

    @property
    def paths(self) -> tuple[str, ...]:
        """All paths."""
        return (self.path, *self.others)

    def __str__(self) -> str:
        return " ".join(self.paths)


@dataclass(frozen=True)
class Table:
    """A BigQuery table."""

    project: str
    dataset: str
    table: str

    def __str__(self) -> str:
        return f"{self.project}:{self.dataset}.{self.table}"

    @property
    def whole(self) -> Table:
        """The table without its partition (`table$20261124`), if it has one."""
        return replace(self, table=self.table.partition("$")[0])


@dataclass(frozen=True)
class Subscription:
    """A Pub/Sub subscription."""

    project: str
    name: str

    def __str__(self) -> str:
        return f"projects/{self.project}/subscriptions/{self.name}"


@dataclass(frozen=True)
class Topic:
    """A Pub/Sub topic."""

    project: str
    name: str

    def __str__(self) -> str:
        return f"projects/{self.project}/topics/{self.name}"


Place = Files | Table | Subscription | Topic


@dataclass(frozen=True)
class Query:
    """The result of a query in BigQuery's standard SQL."""

    sql: str

    def __str__(self) -> str:
        return "query"


@dataclass(frozen=True)
class Replay:
    """A dead letter as input: its records are read again."""

    place: Files | Table | Subscription

    def __str__(self) -> str:
        return str(self.place)


Source = Place | Query | Replay


def place_of(path: str) -> Place:
    """Return the place that a path names. Only the path's form decides; nothing is looked up.

    >>> place_of("gs://bucket/x-*.jsonl").path, str(place_of("my-project:ner.entities"))
    ('gs://bucket/x-*.jsonl', 'my-project:ner.entities')
    >>> place_of("projects/my-project/subscriptions/tickets")
    Subscription(project='my-project', name='tickets')
    >>> place_of("file:///tmp/x.jsonl").path
    '/tmp/x.jsonl'
    >>> str(place_of("`my-project.ner.entities`")), type(place_of("./tickets.2024.raw"))
    ('my-project:ner.entities', <class 'pipeline.places.Files'>)
    """
    if path.startswith("~"):
        with suppress(RuntimeError):  # there is no such user
            path = str(Path(path).expanduser())  # a shell does not do it after `--input=`
    path = re.sub(r"^file://(localhost)?(?=/)", "", path)  # Beam would make a folder named `file:`
    if found := _PUBSUB.fullmatch(path):
        kind = Subscription if found["kind"] == "subscriptions" else Topic
        return kind(found["project"], found["name"])
    name = path.strip("`")
    found = _TABLE.fullmatch(name)
    if not found and not _FILE_ENDING.fullmatch(name):
        found = _STANDARD_TABLE.fullmatch(name)
    if found:
        return Table(found["project"], found["dataset"], found["table"])
    return Files(path)


def places_of(paths: Sequence[str]) -> Place:
    """Return the place that several paths name together: the files of all.

    >>> places_of(["a.jsonl", "b.jsonl"])
    Files(path='a.jsonl', others=('b.jsonl',))

    Raises:
        ValueError: If one of several is not a path of files.
    """
    places = list(map(place_of, paths))
    if len(places) == 1:
        return places[0]
    files = [place for place in places if isinstance(place, Files)]
    if len(files) < len(places):
        other = next(path for path, place in zip(paths, places, strict=True) if not isinstance(place, Files))
        raise ValueError(f"{other!r}: only files can be read together; expected one table or subscription alone")
    return Files(files[0].path, tuple(place.path for place in files[1:]))


def tables_of(path: str) -> Table | None:
    """Return the common name of several tables, such as `my-project.ner.letters_*`, or None for another path.

    >>> str(tables_of("my-project:ner.letters_*")), tables_of("./my-project.ner.letters_*"), tables_of("out/x-*.csv")
    ('my-project:ner.letters_*', None, None)
    """
    name = path.strip("`")
    place = place_of(name.removesuffix("*")) if name.endswith("*") else None
    return replace(place, table=f"{place.table}*") if isinstance(place, Table) else None


def what_is_missing(path: str) -> str | None:
    """Return what a path lacks to name a table, a topic or a subscription, with the whole name; None if nothing.

    >>> what_is_missing("ner.entities")
    'expected PROJECT.ner.entities for a table, or ./ner.entities for files'
    >>> what_is_missing("topics/x")
    'expected projects/PROJECT/topics/x for Pub/Sub, or ./topics/x for files'
    >>> what_is_missing("tickets.jsonl"), what_is_missing("out/entities")
    (None, None)
    """
    name = path.strip("`")
    if re.fullmatch(r"(topics|subscriptions)/[\w.~+%-]+", name) and not _FILE_ENDING.fullmatch(name):
        return f"expected projects/PROJECT/{name} for Pub/Sub, or ./{name} for files"
    if re.fullmatch(r"\w+\.[\w$-]+", name) and not _FILE_ENDING.fullmatch(name):
        return f"expected PROJECT.{name} for a table, or ./{name} for files"
    return None


def is_written(source: Place, *written: Place) -> bool:
    """Return whether a source is also one of the places that are written.

    A table and its partitions count as the same place.

    >>> is_written(place_of("my-project:ner.texts"), place_of("my-project:ner.texts$20261124"))
    True
    """
    return _whole(source) in map(_whole, written)


def _whole(place: Place) -> Place:
    return place.whole if isinstance(place, Table) else place


def is_stream(source: Source) -> bool:
    """Return whether a source is unbounded: a Pub/Sub subscription or topic, or a replay of one."""
    return isinstance(source.place if isinstance(source, Replay) else source, Subscription | Topic)
