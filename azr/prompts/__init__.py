"""Prompts: what the proposer and the solver are asked, rendered from template files.

A *frame* is a folder of jinja2 templates beside this file (or any folder given by path):

* ``frame.json``: ``{"raw": bool, "response_prefix": str, "system": str, "templates": str}``. A ``raw`` frame
  is one text that a base model continues; otherwise the prompt is chat messages. ``response_prefix`` is the
  end of a raw prompt that already belongs to the answer (an open think tag). ``system`` is the system message
  of a chat frame. ``templates`` names another frame whose task templates are used instead of own ones. All
  but ``raw`` may be left out.
* ``frame.jinja``: the text around the task; variable ``task_text``. A raw frame's must end with
  ``response_prefix``.
* ``propose_<task type>.jinja`` and ``solve_<task type>.jinja`` for abduction, deduction, induction and error.
  Variables of propose templates: ``task_type`` (str), ``references`` (list of Task), ``composites`` (list of
  source texts, each defining ``g_0``, ``g_1`` ...), ``options`` (PromptOptions). Variables of solve
  templates: ``task`` (Task), ``options``.

The answers of all frames use the same tags and fences (``<think>..</think><answer>..</answer>``; blocks
labelled ``python``, ``input``, ``output``, ``message``), so that ``azr.parsing`` reads them all. Shipped:
``paper`` (the R1-style conversation), ``chat`` (instruct models), ``cot`` (instruct models, solvers see worked
examples), ``short`` (small instruct models), ``compact`` (small contexts and vocabularies).
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain
from pathlib import Path

import jinja2
from jinja2.meta import find_referenced_templates
from jinja2.sandbox import ImmutableSandboxedEnvironment

from azr.config.paths import find, where_looked
from azr.config.usual_names import usual_value
from azr.errors import ConfigError
from azr.prompts.examples import WorkedExample
from azr.system.hashes import json_hash
from azr.tasks import Prompt, Role, Task, TaskType

BANNED_WORDS = (
    "logging", "random", "multiprocessing", "pebble", "subprocess", "threading", "datetime", "time", "hashlib", "hmac",
    "bcrypt", "os.sys", "os.path", "sys.exit", "os.environ", "calendar",
)  # fmt: skip
"""The published list of forbidden modules, shown in propose prompts and enforced on programs."""

BANNED_ERROR_WORDS = ("assert", "raise", "try", "except")
"""Words an error task must not use: the error is to come from the data."""

SHIPPED_FRAMES = ("paper", "chat", "cot", "short", "compact")
_FOLDER = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class PromptOptions:
    """What may vary in a prompt beside its references; every field shows in the text."""

    frame: str = "paper"
    """A shipped frame's name, or the path of a folder that holds one."""
    num_inputs: int = 10
    """Inputs asked of an induction proposal."""
    numbered: bool = False
    """Spell an induction proposal's form out, block by numbered block (not in the ``compact`` frame)."""
    example: WorkedExample | None = None
    """A complete induction proposal for another program, shown before the form; read with ``numbered`` only."""
    begun: str = ""
    """How the reply of an induction proposal is begun for the model; empty: as the frame begins it. Must go
    on from the frame's own ``response_prefix``."""
    banned: tuple[str, ...] = BANNED_WORDS
    banned_error_words: tuple[str, ...] = ()
    """Further words an error proposal must not use; empty leaves the line out."""
    forbid_globals: bool = False
    """Say that variables live inside functions only, because other top-level code is removed
    (``remove_after_return``)."""
    forbid_test_input: bool = False
    """Say that the program must not hold its test input."""
    timeout_s: float = 10.0
    max_output_chars: int = 400
    """Longest output text a task may have; said in the prompt because longer ones are refused."""


@dataclass(frozen=True)
class Frame:
    """A frame's descriptor and its compiled templates."""

    name: str
    raw: bool
    response_prefix: str
    system: str
    outer: jinja2.Template
    tasks: dict[tuple[Role, TaskType], jinja2.Template]

    def wrap(self, task_text: str, quoted: tuple[str, ...] = ()) -> Prompt:
        """
        Args:
            quoted: parts of ``task_text`` that the frame does not vouch for.
        """
        text = self.outer.render(task_text=task_text.strip()).rstrip("\n")
        system = (("system", self.system),) if self.system and not self.raw else ()
        return Prompt((*system, ("user", text)), self.raw, self.response_prefix, quoted)


def frame_hash(name: str) -> str:
    """Hash of the files of a frame's own folder; of none where it is gone."""
    return json_hash([[file, content.hex()] for file, content in frame_files(name).items()], 12)


def frame_files(name: str) -> dict[str, bytes]:
    """Of a frame's own folder: ``frame.json``, the templates, and what they name, in subfolders too; by their paths in it. None
    where it is gone."""
    folder = _folder_of(name)
    files, found = {}, [path.name for path in folder.glob("*.j*")]
    while found:
        file = found.pop()
        if file not in files and (folder / file).is_file():
            files[file] = (folder / file).read_bytes()
            found += [named for named in _named_in(files[file], folder) if ".." not in named.split("/")]
    return dict(sorted(files.items()))


def _named_in(template: bytes, folder: Path) -> list[str]:
    """The files that a template includes, extends or imports: all templates below ``folder``, where it puts a name together."""
    try:
        named = [*find_referenced_templates(jinja2.Environment().parse(template.decode("utf-8-sig")))]
    except (jinja2.TemplateSyntaxError, UnicodeDecodeError):  # told by ``load_frame``
        return []
    below = [path.relative_to(folder).as_posix() for path in folder.rglob("*.j*")] if None in named else []
    return [*below, *(str(Path(name.lstrip("/")).as_posix()) for name in named if name)]


def _folder_of(name: str) -> Path:
    return _FOLDER / name if name in SHIPPED_FRAMES else find(name)


@lru_cache(maxsize=16)
def load_frame(name: str) -> Frame:
    """Reads and compiles a frame.

    Raises:
        ConfigError: there is no such frame, or one of its files is missing or does not compile.
    """
    folder = _folder_of(name)
    try:
        descriptor = json.loads((folder / "frame.json").read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        known = usual_value(name, SHIPPED_FRAMES) or f"one of {', '.join(SHIPPED_FRAMES)}"
        raise ConfigError(
            f"selfplay.frame={name}: {folder / 'frame.json'} cannot be read ({why}){where_looked(name)}; "
            f"give the folder that the frame is in now, or {known}"
        ) from error
    known = {"raw", "response_prefix", "system", "templates"}
    if not isinstance(descriptor, dict) or not isinstance(descriptor.get("raw"), bool):
        raise ConfigError(
            f'{folder / "frame.json"} has to hold an object with "raw": true or false; copy {_FOLDER / "paper"}'
        )
    if wrong := [key for key in known - {"raw"} if not isinstance(descriptor.get(key, ""), str)]:
        raise ConfigError(f"{folder / 'frame.json'}: {wrong[0]} has to be text in quotation marks")
    if unknown := set(descriptor) - known:
        raise ConfigError(
            f"{folder / 'frame.json'}: unknown keys {sorted(unknown)}; known are {sorted(known)}"
        )
    shared = descriptor.get("templates")
    if shared and shared not in SHIPPED_FRAMES:  # any other folder would be one of this machine's
        raise ConfigError(
            f'{folder / "frame.json"}: "templates" names one of {SHIPPED_FRAMES}, not {shared!r}'
        )
    # "paper/..." inside a template names a shipped frame's file, so that frames can include each other's
    # parts.
    search = [str(folder), *([str(_FOLDER / shared)] if shared else []), str(_FOLDER)]
    # a model that somebody exported may bring a frame of theirs along, and a plain template reaches all of Python
    environment = ImmutableSandboxedEnvironment(
        loader=jinja2.FileSystemLoader(search, encoding="utf-8-sig"),  # Notepad's mark is no part of a prompt
        autoescape=False,  # the text goes to a language model, not into a page
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    try:
        outer = environment.get_template("frame.jinja")
        tasks = {
            (role, kind): environment.get_template(f"{role.value}_{kind.value}.jinja")
            for role in Role
            for kind in TaskType
        }
    except jinja2.TemplateNotFound as error:
        raise ConfigError(f"selfplay.frame={name!r}: {folder} has no template {error.name}") from error
    except jinja2.TemplateSyntaxError as error:
        raise ConfigError(f"{error.filename}, line {error.lineno}: {error.message}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"selfplay.frame={name!r}: a template in {folder} is not UTF-8 ({error}); save it as UTF-8"
        ) from error
    for file, content in frame_files(name).items():
        if outside := [named for named in _named_in(content, folder) if ".." in named.split("/")]:
            raise ConfigError(
                f"{folder / file} names {outside[0]}, outside of the frame's folder; copy that file into the folder and name it there"
            )
    frame = Frame(
        name=name,
        raw=bool(descriptor["raw"]),
        response_prefix=descriptor.get("response_prefix", ""),
        system=descriptor.get("system", ""),
        outer=outer,
        tasks=tasks,
    )
    with _told_by_file(folder):
        _try_out(frame, folder)
        raw_text = frame.wrap("x").text if frame.raw else ""
    if frame.raw and not raw_text.endswith(frame.response_prefix):
        raise ConfigError(
            f"{folder / 'frame.jinja'} must end with the response_prefix {frame.response_prefix!r} that frame.json states"
        )
    return frame


ASKED_ABOUT = {
    TaskType.ABDUCTION: ("code", "outputs"),
    TaskType.DEDUCTION: ("code", "inputs"),
    TaskType.ERROR: ("code", "inputs"),
    TaskType.INDUCTION: ("inputs", "outputs"),
}
"""What a task cannot be solved without."""


def _try_out(frame: Frame, folder: Path) -> None:
    """Renders every template of a frame: a slip in one would be met in mid-run, or never.

    Raises:
        ConfigError: a prompt is the same for different tasks.
        Exception: what a template raises.
    """
    if frame.wrap("1") == frame.wrap("2"):
        raise ConfigError(
            f"{folder / 'frame.jinja'} does not show {{{{ task_text }}}}, so every prompt would be the same"
        )
    options = PromptOptions(frame=frame.name)
    for kind in TaskType:
        pairs = 2 if kind is TaskType.INDUCTION else 1
        ones = ("1",) * pairs
        task = Task(
            task_type=kind, code="def f(x):\n    return x", inputs=ones, outputs=ones, message="as it is"
        )
        others = {"code": "def f(x):\n    return -x", "inputs": ("2",) * pairs, "outputs": ("3",) * pairs}
        template = frame.tasks[Role.SOLVE, kind]
        text = template.render(task=task, options=options)
        for field in ASKED_ABOUT[kind]:
            if text == template.render(task=replace(task, **{field: others[field]}), options=options):
                raise ConfigError(
                    f"{template.filename} does not show the task's {field}, so it cannot be solved"
                )
        template = frame.tasks[Role.PROPOSE, kind]
        asked = {"task_type": kind.value, "references": [task], "composites": [], "options": options}
        text = template.render(asked)
        if kind is not TaskType.INDUCTION:
            template.render(asked | {"composites": ["def g_0(x):\n    return x"]})
            template.render(asked | {"references": []})
        elif text == template.render(asked | {"references": [replace(task, code=others["code"])]}):
            raise ConfigError(
                f"{template.filename} does not show references[0].code, for which it wants inputs"
            )


@contextmanager
def _told_by_file(folder: Path) -> Iterator[None]:
    """Turns what a template raises, jinja's errors and any of Python's, into a ConfigError with file and line."""
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:
        places = [
            f"{frame.filename}, line {frame.lineno}"
            for frame in traceback.extract_tb(error.__traceback__)
            if frame.filename.endswith(".jinja")
        ]
        told = (
            f"there is no template {error.name}" if isinstance(error, jinja2.TemplateNotFound) else str(error)
        )
        raise ConfigError(f"{places[-1] if places else folder}: {told}") from error


def propose_prompt(
    task_type: TaskType, references: Sequence[Task], options: PromptOptions, composites: Sequence[str] = ()
) -> Prompt:
    """Asks for a new task.

    Args:
        references: shown as examples to learn from and differ from; an induction prompt takes exactly one,
            whose program it uses.
        composites: sources defining ``g_0``, ``g_1`` ... that the new program must call; not for
            induction.

    Raises:
        ConfigError: the frame cannot be read.
        ValueError: an induction prompt without exactly one reference.
    """
    if task_type is TaskType.INDUCTION and (len(references) != 1 or composites):
        raise ValueError(
            f"an induction prompt takes one reference and no composite functions, got {len(references)} and {len(composites)}"
        )
    frame = load_frame(options.frame)
    template = frame.tasks[Role.PROPOSE, task_type]
    text = template.render(
        task_type=task_type.value, references=list(references), composites=list(composites), options=options
    )
    prompt = frame.wrap(text, (*chain.from_iterable(map(_quoted, references)), *composites))
    return _begin(prompt, options.begun) if options.begun and task_type is TaskType.INDUCTION else prompt


def _begin(prompt: Prompt, begun: str) -> Prompt:
    """The prompt with more of the reply written already."""
    if not begun.startswith(prompt.response_prefix):
        raise ConfigError(
            f"the frame begins replies with {prompt.response_prefix!r}; {begun!r} does not continue it"
        )
    if not prompt.raw:
        return replace(prompt, response_prefix=begun)
    [(role, text)] = prompt.messages
    return replace(
        prompt, messages=((role, text + begun[len(prompt.response_prefix) :]),), response_prefix=begun
    )


def solve_prompt(task: Task, options: PromptOptions) -> Prompt:
    """Asks for the missing part of a task: an input, the output, the error, or the program.

    Raises:
        ConfigError: the frame cannot be read.
    """
    frame = load_frame(options.frame)
    text = frame.tasks[Role.SOLVE, task.task_type].render(task=task, options=options)
    return frame.wrap(text, _quoted(task))


def _quoted(task: Task) -> tuple[str, ...]:
    return (task.program, *task.inputs, *task.outputs, task.message)
