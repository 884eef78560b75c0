"""``python -m pipeline``, and the program ``beam-ner``."""

import sys

from pipeline.start_signals import end_on_signals


def main() -> int:
    """The program as a process of its own; see `pipeline.run.main`."""
    end_on_signals(sys.argv[1:])
    from pipeline.run import main as run  # loads Beam, which takes seconds

    return run()


if __name__ == "__main__":
    sys.exit(main())
