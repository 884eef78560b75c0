"""Pub/Sub: subscriptions that are read, topics that are written, and acknowledgement."""
