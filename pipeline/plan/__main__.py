"""``python -m pipeline.plan``, and the program ``beam-ner-plan``."""

import sys

from pipeline.process.children import end_children
from pipeline.process.output import guard_output
from pipeline.process.signals import OUTCOMES, end_on_signals, run_begins


def main() -> int:
    """Runs the plan in its own process; see `pipeline.plan.command.main`."""
    guard_output()
    end_on_signals([])
    run_begins(_stop)
    from pipeline.plan.command import main as plan  # loads Beam, which takes seconds

    return plan()


def _stop(number: int) -> str:
    end_children()  # the measuring processes
    return f"beam-ner-plan: {OUTCOMES[number]}"


if __name__ == "__main__":
    sys.exit(main())
