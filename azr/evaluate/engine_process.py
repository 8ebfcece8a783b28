"""The engine's own process: when it ends, the card is free again.

    python -m azr.evaluate.engine_process JOB.json EVENTS     (started by azr.evaluate.engine)

``EVENTS`` is the number of an open pipe to the parent; an event is a line of JSON:

====================================================== ====================================================
``{"model": N}``                                       the job's N-th model is next
``{"stage": S}``                                       what is happening: start, compile, load, answer
``{"answers": N, "finished_tokens": N, "tokens": N}``  written since the process began
``{"not_asked": N}``                                   answers that prompts over their limit do not get
``{"failed": TEXT}``                                   the last event of a process that gives up for a reason
====================================================== ====================================================

Every answer is appended to its file in the step of the engine that finished it.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from azr.errors import AzrError
from azr.evaluate.answers import Answer, AnswerStore
from azr.evaluate.engine_requests import EngineJob, Request
from azr.evaluate.engine_session import ModelText, Pending, SendEvent, Session
from azr.models.check import refuse_head_size
from azr.run.records import from_json
from azr.system.files import read_json
from azr.system.processes import end_with_parent
from azr.train.environment import engine_environment, set_defaults

GAVE_UP = 3
"""Exit status after a ``failed`` event."""


def main(arguments: list[str]) -> int:
    from azr.system.hardware import detect, device_for
    from azr.system.places import prepare_places, restart_with_plain_path

    prepare_places()
    restart_with_plain_path("azr.evaluate.engine_process", arguments)
    end_with_parent()
    pipe = int(arguments[1])
    os.set_inheritable(pipe, False)  # is not handed on to processes that vLLM starts

    def send(event: dict[str, Any]) -> None:
        os.write(pipe, (json.dumps(event) + "\n").encode())

    job = from_json(EngineJob, read_json(Path(arguments[0])), arguments[0])
    device = device_for(detect(), job.engine.device, job.engine.tensor_parallel)
    if device.missing:
        send({"failed": f"{device.count} cards are needed, but this machine has {device}"})
        return GAVE_UP
    device.take()
    set_defaults(
        engine_environment(device.kind, max(1, round(job.engine.cpu_kv_cache_gib)))
        # this process is the engine's own already
        | {"VLLM_WORKER_MULTIPROC_METHOD": "spawn", "VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
    )
    try:
        _run(job, device.kind == "cuda", send)
    except AzrError as error:
        send({"failed": str(error)})
        return GAVE_UP
    return 0


def _run(job: EngineJob, on_gpu: bool, send: SendEvent) -> None:
    session: Session | None = None
    send({"stage": "start"})
    if not on_gpu:
        for model, _ in job.models:
            refuse_head_size(model.folder)
    for number, (model, batches) in enumerate(job.models):
        send({"model": number})
        text = ModelText(model.folder, job.engine.trust_remote_code)
        asked = [(request, batch.store) for batch in batches for request in batch.requests]
        pending = [each for request, store in asked for each in _pending(request, text, store)]
        send({"not_asked": sum(len(request.missing) for request, _ in asked) - len(pending)})
        if pending:
            session = session or Session(model.folder, job, on_gpu, send)
            session.load(model, text)
            session.answer(pending, text)


def _pending(request: Request, text: ModelText, store: AnswerStore) -> list[Pending]:
    """The answers that a request asks for; a prompt over its limit is answered with that at once."""
    ids = text.prompt_ids(request)
    if len(ids) <= request.decoding.max_prompt_tokens:
        return [Pending(request, sample, ids, store) for sample in request.missing]
    store.append(
        Answer(request.item_id, sample, "", len(ids), prompt_too_long=True) for sample in request.missing
    )
    return []


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
