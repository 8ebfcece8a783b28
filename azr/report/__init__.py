"""What people see: live view, report, loggers, transcripts. Reads the run directory only; no torch, ray, verl
or vllm."""
