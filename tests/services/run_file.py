"""`python -m services.run_file FILE ARGUMENT…`: a program's file, with its clients pointed at the servers that the environment names."""

import runpy
import sys

from services.clients import point_beam_at

if __name__ == "__main__":
    point_beam_at()
    del sys.argv[0]
    runpy.run_path(sys.argv[0], run_name="__main__")
