"""A worker process of `--direct_running_mode=multi_processing`: Beam's, with output that raises no errors."""

import sys

from pipeline.process.output import guard_output

if __name__ == "__main__":
    guard_output()
    from apache_beam.runners.worker import sdk_worker_main

    sdk_worker_main.main(sys.argv)
