"""A run on disk: its folder, what is written there, and how driver and trainer talk through it."""
