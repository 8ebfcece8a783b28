"""Thin adapters to verl and Ray: the trainer, its worker and engine, agent loops, the runner, and verl's
configuration."""
