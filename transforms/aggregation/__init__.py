"""Pre-entities to entities: the aggregation strategies, groups of tokens, overlaps of windows."""
