"""The places that an input or output path can name: files, a BigQuery table, a Pub/Sub subscription or topic."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

_PROJECT = r"(?:[\w.-]+:)?[a-z][a-z0-9-]*"  # a domain's project begins with the domain: example.com:project
_TABLE = re.compile(rf"(?P<project>{_PROJECT}):(?P<dataset>\w+)\.(?P<table>[\w$-]+)")
_PUBSUB = re.compile(r"projects/(?P<project>[^/]+)/(?P<kind>subscriptions|topics)/(?P<name>[^/]+)")


@dataclass(frozen=True)
class Files:
    """A path, a prefix or a glob on any file system that Beam supports."""

    path: str

    def __str__(self) -> str:
        return self.path


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

    >>> place_of("gs://bucket/x-*.jsonl"), str(place_of("my-project:ner.entities"))
    (Files(path='gs://bucket/x-*.jsonl'), 'my-project:ner.entities')
    >>> place_of("projects/my-project/subscriptions/tickets")
    Subscription(project='my-project', name='tickets')
    >>> place_of("file:///tmp/x.jsonl")
    Files(path='/tmp/x.jsonl')
    """
    path = re.sub(r"^file://(localhost)?(?=/)", "", path)  # Beam would make a folder named `file:`
    if found := _PUBSUB.fullmatch(path):
        kind = Subscription if found["kind"] == "subscriptions" else Topic
        return kind(found["project"], found["name"])
    if found := _TABLE.fullmatch(path):
        return Table(found["project"], found["dataset"], found["table"])
    return Files(path)


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
