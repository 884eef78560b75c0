"""Checks the most failures of a run."""

from __future__ import annotations

from apache_beam.options.pipeline_options import StandardOptions

from pipeline.max_failures import MaxFailures
from pipeline.options import NerOptions


def check_max_failures(options: NerOptions, *, streaming: bool) -> MaxFailures | None:
    """Return the most failures; None if the flag is not given.

    Raises:
        ValueError: if the value is neither a number nor a percentage, or if the program does not see the end of the
            run; in one sentence with the flag, its value and a valid value.
    """
    given = options.max_failures
    if given is None:
        return None
    if streaming:
        raise ValueError(f"--max_failures={given}: only for batch, since a stream has no end; expected none")
    if options.view_as(StandardOptions).runner == "DataflowRunner":
        problem = "the program does not wait for a job on Dataflow; expected none, and an alert on read_failures"
        raise ValueError(f"--max_failures={given}: {problem}")
    try:
        return MaxFailures.parse(given)
    except ValueError as error:
        raise ValueError(f"--max_failures={given}: invalid; {error}") from error
