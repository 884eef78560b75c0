"""Names of the counters that the steps keep."""

NAMESPACE = "ner"
