"""What verl needs to run on a machine without a GPU: a platform, an engine, and an interpreter that is
imported once."""
