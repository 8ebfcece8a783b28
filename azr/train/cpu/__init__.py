"""What verl needs to run on a machine without a GPU: a platform and an engine."""
