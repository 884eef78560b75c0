"""Texts to token ids, offsets and words."""
