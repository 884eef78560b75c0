"""Which runner a stream has, and what the program says of it."""

from __future__ import annotations

import pytest
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner

from pipeline.command_line import parse
from pipeline.io.pubsub.subscription import SubscriptionSettings
from pipeline.runners.selection import streaming_runner


@pytest.mark.parametrize(
    ("runner", "ours", "said"),
    [
        ("", True, ""),
        ("--runner=DirectRunner", True, ""),
        ("--runner=DataflowRunner", False, ""),
        ("--runner=PrismRunner", False, ""),
        ("--runner=FlinkRunner", False, "FlinkRunner: "),
    ],
)
def test_a_runner_without_a_shown_guarantee_is_told_of(
    runner: str, ours: bool, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = streaming_runner(parse([flag for flag in (runner,) if flag]))
    assert isinstance(chosen, BundleBasedDirectRunner) if ours else chosen is None
    err = capsys.readouterr().err
    assert err.count("\n") == bool(said)
    assert err.startswith(f"beam-ner: {said}" if said else "")
    assert ("losing nothing was shown only on the DirectRunner and on Prism" in err) == bool(said)


def test_a_message_that_is_done_is_known_for_ten_minutes() -> None:
    """As the README says; what becomes of it then is tested with the leases."""
    assert SubscriptionSettings("projects/p/subscriptions/s").remember_seconds == 600
