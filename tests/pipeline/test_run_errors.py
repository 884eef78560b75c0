"""The one line that is said of a failed run, from messages as Beam's runners really make them."""

from __future__ import annotations

import doctest
import logging
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

from pipeline.lifecycle import errors as run_errors
from pipeline.lifecycle.errors import describe_run_error

# As a worker in another process sends it: the stacks shortened, the order and the blank lines kept.
WORKER = """\
Traceback (most recent call last):
  File "pipeline/x.py", line 9, in bad
    {}["id"]
    ~~^^^^^^
KeyError: 'id'

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "apache_beam/runners/common.py", line 1512, in apache_beam.runners.common.DoFnRunner.process
  File "pipeline/x.py", line 10, in bad
    raise ValueError("no such table\\n  ask for one")
ValueError: no such table
  ask for one

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "apache_beam/runners/worker/sdk_worker.py", line 310, in _execute
    response = task()
               ^^^^^^
  File "pipeline/x.py", line 10, in bad
    raise ValueError("no such table\\n  ask for one")
ValueError: no such table
  ask for one
last line [while running 'Write/Load-ptransform-12']

"""
STEP = "[while running 'Write/Load-ptransform-12']"
PRISM = "Pipeline job-001 failed in state FAILED: bundle inst001 stage-003 failed:"

MESSAGES = [
    (ValueError("one line"), "one line"),
    (ValueError("no such table\n  ask for one\nlast line [while running 'W']"), "no such table [while running 'W']"),
    (ValueError("no such table [while running 'W']\nmore"), "no such table [while running 'W']"),
    (ValueError("\n \nat last"), "at last"),
    (RuntimeError(WORKER), f"ValueError: no such table {STEP}"),
    (RuntimeError(f"{PRISM}{WORKER}"), f"ValueError: no such table {STEP}"),
    (RuntimeError("Traceback (most recent call last):\n  File x\n    y\n"), "Traceback (most recent call last):"),
    (RuntimeError("the worker is gone\nTraceback (most recent call last):\n  File x\n"), "the worker is gone"),
    (KeyError("id [while running 'W']"), "KeyError: \"id [while running 'W']\""),
    (RuntimeError("AssertionError [while running 'W']"), "AssertionError [while running 'W']"),
    (AssertionError(), "AssertionError"),
    (ValueError(""), "ValueError"),
    (RuntimeError("x" * 501), "x" * 500 + "…"),
    (RuntimeError("x" * 501 + " [while running 'W']"), "x" * 500 + "… [while running 'W']"),
]


@pytest.mark.parametrize(("error", "expected"), MESSAGES)
def test_sentence_of(error: Exception, expected: str) -> None:
    assert describe_run_error(error) == expected


def _fail(_: Any) -> None:
    raise ValueError("no such table\n  ask for one\nlast line")


@pytest.mark.parametrize("runner", [BundleBasedDirectRunner, FnApiRunner])
def test_what_the_runners_in_this_process_raise(runner: type, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    pipeline = beam.Pipeline(runner())
    _ = pipeline | beam.Create([1]) | "Step" >> beam.Map(_fail)
    with pytest.raises(ValueError, match="no such table") as raised:
        pipeline.run().wait_until_finish()
    assert describe_run_error(raised.value) == "no such table [while running 'Step']"


def test_examples_in_docstrings() -> None:
    assert doctest.testmod(run_errors).failed == 0
