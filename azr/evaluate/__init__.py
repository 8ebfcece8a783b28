"""Evaluation of models on fixed suites, and export of what a run made. docs/evaluate.md and docs/export.md explain them.

An evaluation is ``evaluation.evaluate``, read from top to bottom:

* ``models`` finds a model and ``speaker`` how it is spoken to; ``suites`` names the suites and styles and makes items
  (``code_suite`` with ``humaneval``, ``mbpp``, ``evalplus``, ``livecodebench``; ``tasks_suite`` with ``cruxeval``; ``gsm8k``;
  ``proposals``). ``suite_run`` is one suite asked of one model, and ``answers`` keeps every answer on disk.
* ``engine`` answers in a child process (``engine_process``, ``engine_session``, ``engine_worker``), which takes
  ``engine_requests``; ``gpu_lock`` keeps a second evaluation waiting. ``recorded`` reads the answers of others instead.
* ``extraction`` reads answers and ``checks`` runs programs, ``scoring`` adds up, ``statistics`` says how sure a score is,
  ``verdict`` whether a model is better, ``doubts`` what else may be wrong; ``results`` writes without losing earlier ones.

An export of a model is ``export`` (with ``weights``, ``gguf``, ``prompt_format``), of adapters ``adapters``, of tasks
``task_export``; ``export_cards`` describes them. torch and transformers are imported inside functions only, vLLM in the
child process only.
"""
