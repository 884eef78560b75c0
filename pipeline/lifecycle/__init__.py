"""The way of a run to its end: waiting for workers, signals, clean-up, and the line that is printed."""
