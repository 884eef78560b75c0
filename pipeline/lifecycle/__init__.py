"""The course of a run after its start: waiting for workers, signals, clean-up, and the line that is printed."""
