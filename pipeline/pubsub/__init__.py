"""Pub/Sub itself, without Beam: clients, leases, and what a message may hold."""
