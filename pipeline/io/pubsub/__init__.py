"""Pub/Sub: reading subscriptions, writing to topics, and acknowledging messages."""
