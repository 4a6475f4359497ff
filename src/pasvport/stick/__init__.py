"""Stick tables: keys, entries, counters, expiry, eviction. Pure."""
