"""Worker types and prices with a date: the package's own, and replacements from a user's file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

OWN_FILE = Path(__file__).with_name("machine_types.json")


@dataclass(frozen=True)
class WorkerType:
    """A type of virtual machine.

    Attributes:
        name: Name of the type, as in `--worker_machine_type`.
        vcpus: Number of virtual CPUs, which are threads of cores on most types.
        memory_gib: Memory in GiB.
        bf16: Whether its processors multiply bf16 matrices (AMX); None if that is not known.
        accelerator: Kind of its GPU, if it has one.
    """

    name: str
    vcpus: int
    memory_gib: float
    bf16: bool | None = None
    accelerator: str | None = None

    @property
    def family(self) -> str:
        """The machine family.

        >>> WorkerType("c3-standard-8", 8, 32).family
        'c3'
        """
        return self.name.partition("-")[0]


@dataclass(frozen=True)
class Prices:
    """The prices of Dataflow in dollars.

    Attributes:
        vcpu_hour: Price of a virtual CPU for an hour.
        memory_gib_hour: Price of a GiB of memory for an hour.
        disk_gib_hour: Price of a GiB of disk for an hour.
        shuffle_gib: Price of a GiB in Dataflow Shuffle.
        accelerator_hour: Price of a GPU for an hour, by its kind.
        date: Date of the prices.
        source: Source of the prices.
    """

    vcpu_hour: float
    memory_gib_hour: float
    disk_gib_hour: float
    shuffle_gib: float
    accelerator_hour: Mapping[str, float]
    date: str
    source: str


@dataclass(frozen=True)
class Catalogue:
    """All worker types by name, their prices, and the largest number of workers of a job."""

    workers: Mapping[str, WorkerType]
    prices: Prices
    workers_a_job: int

    @classmethod
    def load(cls, path: Path | None = None) -> Catalogue:
        """Return the package's own catalogue, with entries that a file adds or replaces.

        Args:
            path: A JSON file with `prices` (some or all of `Prices`, with a `date` and a `source`) and `workers` (by
                name, each with the fields that a `WorkerType` requires).

        Raises:
            ValueError: if the file is not of this form, in one sentence with the flag `--prices`.
        """
        own = json.loads(OWN_FILE.read_text(encoding="utf-8"))
        catalogue = cls(_workers(own["workers"]), Prices(**own["prices"]), own["limits"]["workers_a_job"])
        if path is None:
            return catalogue
        try:
            return catalogue._with(read_object(path))
        except ValueError as error:
            raise ValueError(f"--prices={path}: {error}") from None

    def _with(self, given: dict[str, Any]) -> Catalogue:
        unknown = set(given) - {"prices", "workers"}
        if unknown:
            raise ValueError(f"{min(unknown)!r} is unknown; expected prices and workers")
        prices = _object(given.get("prices", {}), "prices")
        if prices and not {"date", "source"} <= set(prices):
            raise ValueError("prices are without a date and a source; expected both")
        workers = {**self.workers, **_workers(_object(given.get("workers", {}), "workers"))}
        return Catalogue(workers, _prices(self.prices, prices), self.workers_a_job)

    def types(self, names: str) -> list[WorkerType]:
        """Return the worker types of a comma-separated list of names.

        Raises:
            ValueError: if a name is unknown, or there is none.
        """
        wanted = [name.strip() for name in names.split(",") if name.strip()]
        for name in wanted:
            if name not in self.workers:
                known = ", ".join(self.workers)
                raise ValueError(
                    f"--worker_types: {name!r} is unknown; expected one of {known}, or one that --prices adds"
                )
        if not wanted:
            raise ValueError(f"--worker_types={names!r}: empty; expected some of {', '.join(self.workers)}")
        return [self.workers[name] for name in wanted]

    def like(self, name: str) -> WorkerType | None:
        """Return a worker type by its name; if missing, it is scaled from a type of its kind, or None without one.

        >>> Catalogue.load().like("n2-standard-16")
        WorkerType(name='n2-standard-16', vcpus=16, memory_gib=64.0, bf16=False, accelerator=None)
        """
        if name in self.workers:
            return self.workers[name]
        kind, _, cores = name.rpartition("-")
        same = (worker for worker in self.workers.values() if worker.name.rpartition("-")[0] == kind)
        known = next(same, None)
        if known is None or not cores.isdecimal() or not int(cores):
            return None
        share = known.memory_gib / known.vcpus
        return WorkerType(name, int(cores), int(cores) * share, known.bf16)


def read_object(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file.

    Raises:
        ValueError: if the file contains none, or cannot be read; the message does not name the file.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"the file cannot be read: {error.strerror}") from None
    except ValueError:
        raise ValueError("the file is not JSON") from None
    return _object(value, "the file")


def number(value: Any, what: str, *, above: float = 0.0) -> float:
    """Return a value, which must be a finite number above a bound.

    Raises:
        ValueError: if it is not; the message starts with `what`.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not above < value < float("inf"):
        raise ValueError(f"{what} is not a number above {above:g}")
    return float(value)


def read_rates(path: Path) -> dict[str, float]:
    """Return the documents a second of whole workers, by worker type.

    Args:
        path: A JSON file: `{"g2-standard-4": 1200}`.

    Raises:
        ValueError: if it is not of this form, in one sentence with the flag `--rates`.
    """
    try:
        return {name: number(rate, f"the rate of {name!r}") for name, rate in read_object(path).items()}
    except ValueError as error:
        raise ValueError(
            f'--rates={path}: {error}; expected JSON like {{"g2-standard-4": 1200}}, documents a second'
        ) from None


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{what} is not a JSON object")
    return value


def _workers(given: dict[str, Any]) -> dict[str, WorkerType]:
    return {name: _worker(name, _object(values, f"the worker {name!r}")) for name, values in given.items()}


def _worker(name: str, values: dict[str, Any]) -> WorkerType:
    known = {field.name for field in fields(WorkerType)} - {"name"}
    if unknown := set(values) - known:
        raise ValueError(f"{min(unknown)!r} of {name!r} is unknown; expected {', '.join(sorted(known))}")
    vcpus = number(values.get("vcpus"), f"vcpus of {name!r}")
    memory = number(values.get("memory_gib"), f"memory_gib of {name!r}")
    if vcpus != int(vcpus):
        raise ValueError(f"vcpus of {name!r} is not a whole number")
    return WorkerType(name, int(vcpus), memory, values.get("bf16"), values.get("accelerator"))


def _prices(own: Prices, given: dict[str, Any]) -> Prices:
    changes: dict[str, Any] = {}
    for name, value in given.items():
        if name in ("date", "source"):
            changes[name] = str(value)
        elif name == "accelerator_hour":
            kinds = {kind: number(price, f"the price of {kind!r}") for kind, price in _object(value, name).items()}
            changes[name] = {**own.accelerator_hour, **kinds}
        elif name in {field.name for field in fields(Prices)}:
            changes[name] = number(value, name, above=-1e-12)
        else:
            known = ", ".join(field.name for field in fields(Prices))
            raise ValueError(f"the price {name!r} is unknown; expected one of {known}")
    return replace(own, **changes)
