"""The way from a model's name to checked files in a local folder."""
