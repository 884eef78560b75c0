"""How many workers, hours and dollars a large run takes: ``python -m pipeline.plan``.

`measure` times this machine on a sample of the input, `catalogue` knows worker types and prices, `model` is the
arithmetic between them, `report` shows it, and `command` is the command line.
"""
