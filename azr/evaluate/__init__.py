"""Evaluation of models on fixed suites, and export of what a run made.

``scripts/evaluate.py`` and ``scripts/export.py`` are the commands; docs/evaluate.md and docs/export.md explain them. The order of
an evaluation: ``models`` finds the model, ``suites`` (``tasks_suite``, ``humaneval``) make items, ``engine`` answers them in a child
process, ``answers`` keeps every answer, ``scoring`` judges the answers in the sandbox, ``statistics`` says how sure the score is,
``results`` writes without losing earlier results.
torch and transformers are imported inside functions only, vLLM in the child process only.
"""
