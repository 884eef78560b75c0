"""`python -m pipeline`, with its clients pointed at the servers that the environment names (see `clients`)."""

import sys

from services.clients import point_beam_at

if __name__ == "__main__":
    point_beam_at()
    from pipeline.__main__ import main

    sys.exit(main())
