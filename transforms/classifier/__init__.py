"""The token classifier for use in process, with the interface of transformers' pipeline."""
