"""Documents to pre-entities: windows of a text, batches, and the scores of their tokens."""
