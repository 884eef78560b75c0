"""Estimates the workers, hours and dollars of a large run: ``python -m pipeline.plan``.

`measure` times this machine on a sample of the input. `model` calculates a job from that, with the worker types and
prices of `pipeline.runners.machine_types`. `report` formats the result, and `command` is the command line.
"""
