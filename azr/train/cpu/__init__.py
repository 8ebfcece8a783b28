"""What verl needs to run on a machine without a GPU: a platform, and two repairs of the CPU build of vLLM."""
