"""Evaluation of models on fixed suites, and export of what a run made.

``scripts/evaluate.py`` and ``scripts/export.py`` are the commands; docs/evaluate.md and docs/export.md
explain them; ``texts`` holds prompts and cards. The order of an evaluation: ``models`` finds the model,
``speaker`` how it is spoken to; ``suites`` names the suites and styles and makes items (``code_suite`` with
``humaneval``, ``mbpp``, ``evalplus``, ``livecodebench``; ``tasks_suite`` with ``cruxeval``; ``gsm8k``; ``proposals``);
``engine`` answers them in a child process, ``answers`` keeps every answer; ``extraction`` reads answers and
``checks`` runs programs, ``scoring`` adds up, ``statistics`` says how sure a score is, ``verdict`` whether a
model is better, and ``results`` writes without losing earlier results. torch and transformers are imported
inside functions only, vLLM in the child process only.
"""
