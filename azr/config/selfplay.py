"""Section ``selfplay``: the rules of the game (docs/conformance.md names the code and the test of each).

``variant`` is one switch over everything in which the published paper and the published code differ; a key
that is set (not null) overrides it. What differs: ``extremes``, ``advantage``, ``solve_timing``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le

from azr.config.limits import NonNegativeFloat, NonNegativeInt, PositiveInt, Section, Share

MOST_EXAMPLE_INPUTS = 12
"""Inputs that each worked example holds (``azr.prompts.examples``)."""


TaskTypeName = Literal["abduction", "deduction", "induction", "error"]


@dataclass(frozen=True)
class IntrinsicConfig(Section, place="selfplay.intrinsic"):
    """Additional rewards for the proposer: each term is min(coefficient x value, its maximum); 0
    switches a term off."""

    complexity: NonNegativeFloat = 0.0
    """Coefficient of the cognitive complexity of the program / 15 (complexipy)."""
    complexity_max: NonNegativeFloat = 0.5
    """Largest value of the complexity term."""
    halstead: NonNegativeFloat = 0.0
    """Coefficient of the mix of Halstead effort, Halstead volume and cyclomatic complexity (radon), 0 to
    1."""
    halstead_max: NonNegativeFloat = 0.5
    """Largest value of the Halstead term."""
    edit_distance: NonNegativeFloat = 0.0
    """Coefficient of the mean distance of the program's syntax tree to those of its references, 0 to 1
    (rapidfuzz)."""
    edit_distance_max: NonNegativeFloat = 0.5
    """Largest value of the edit-distance term."""
    diversity: NonNegativeFloat = 0.0
    """Coefficient of how rare the answer is among all tasks so far, 0 to 1 (induction: mean over inputs and
    outputs)."""
    diversity_max: NonNegativeFloat = 0.5
    """Largest value of the diversity term."""
    hierarchical_diversity: bool = False
    """Average the rarity of the value's type and the rarity of the value within its type, instead of counting
    values alone."""
    combine: Literal["sum", "multiply", "sum_multiply", "multiply_sum"] = "sum"
    """How terms join the learnability reward: ``sum``, ``multiply``, ``sum_multiply`` (reward + product) or
    ``multiply_sum``."""


@dataclass(frozen=True)
class SelfPlayConfig(Section, place="selfplay"):
    variant: Literal["code", "paper"] = "code"
    """``code`` or ``paper``: which published behaviour fills the keys that are null below."""
    frame: str = "paper"
    """Prompt frame: ``paper`` (base models), ``chat`` (instruct models), ``cot`` (the same, with solvers shown worked
    examples as CRUXEval's authors write them), ``short`` (small instruct models), ``compact`` (small contexts),
    or a folder of templates."""
    task_types: list[TaskTypeName] = field(default_factory=lambda: ["abduction", "deduction", "induction"])
    """Task types that are trained, in the order of their streams; ``error`` (error prediction) may be
    added."""
    train_propose: bool = True
    """Off: only the solver is trained, and no tasks are proposed (an ablation of the paper)."""
    solve_only_steps: NonNegativeInt = 0
    """Number of steps at the start in which only the solver is trained."""
    batch_size: PositiveInt = 64
    """Tasks per stream and step; six streams of 64 are 384 responses."""

    # Prompts
    references: Annotated[int, Ge(0), Le(100)] = 6
    """Tasks shown to a proposer as examples; 0 shows none (an ablation of the paper)."""
    reference_weighting: Literal["uniform", "step"] = "uniform"
    """How references are drawn: ``uniform``, or ``step`` (newer tasks more often; the authors saw
    collapse)."""
    num_inputs: Annotated[int, Ge(2)] = 10
    """Inputs of an induction task; half of the pairs are shown to the solver. With a curriculum, the number
    it ends at."""
    induction_prompt: Literal["plain", "numbered", "example"] = "plain"
    """How induction proposals are asked for: ``plain`` as published, ``numbered`` with every block of the
    reply spelt out, or ``example``: numbered, after a complete reply for another program. With ``plain``,
    small models write one or two blocks and stop."""
    induction_reply: Literal["frame", "think", "answer"] = "frame"
    """How the reply to an induction proposal is started for the model: ``frame`` as the frame does, ``think``
    with an open think tag, or ``answer`` up to its first input block (without any thinking)."""
    induction_inputs_start: int = 0
    """Curriculum: inputs that an induction task needs at first. One more is needed whenever the share of
    valid induction proposals over the last ``induction_inputs_window`` steps is at least
    ``induction_inputs_threshold``, up to ``num_inputs``. 0: ``num_inputs`` from the start, as published."""
    induction_inputs_threshold: Annotated[float, Gt(0), Le(1)] = 0.6
    """See ``induction_inputs_start``."""
    induction_inputs_window: PositiveInt = 5
    """See ``induction_inputs_start``."""
    induction_spare_inputs: NonNegativeInt = 0
    """Inputs asked for beyond those that a task needs; useful with ``usable_inputs``, where a bad one is left
    out."""
    banned_modules: list[str] | None = None
    """Modules that no program may import, listed in the prompt; null is the published list. The sandbox has
    its own rules as well."""
    max_output_chars: PositiveInt = 400
    """Longest output text of a task; longer ones are refused (the published code cut them, which made them
    unsolvable)."""

    # Reading proposals
    reject_multiple_functions: bool = True
    """Refuse programs with more than one function at the top level; methods and nested helpers are
    allowed."""
    entry_point: Literal["not_first", "not_last", "any_first", "any_last"] = "not_first"
    """Which function becomes ``f``: ``not_first`` the first one, ``not_last`` the last one, ``any_first`` /
    ``any_last`` an existing ``f``, else the first / last one."""
    code_location: Literal["first", "last"] = "first"
    """Which code block of a proposal counts: ``first`` or ``last``."""
    reject_test_input: bool = False
    """Refuse programs that hold their test input (top-level calls of f, asserts, variables named after
    inputs)."""
    strip_comments: bool = False
    """Remove comments and docstrings from proposals (the authors saw a clear drop)."""
    strip_globals: bool = False
    """Keep only imports, functions and classes at the top level of proposals."""
    strip_prints: bool = False
    """Remove print statements from proposals."""
    reject_leaks: bool = True
    """Refuse proposals whose message holds the program, or whose comments hold the output."""
    usable_inputs: bool = False
    """Judge the inputs of an induction proposal one by one: inputs that are repeated, that are not literals
    or that the program fails on are left out, surplus ones are dropped, and the task is valid if enough
    remain. An empty message, or one copied from the prompt's example, is refused. Off: exactly the last
    ``num_inputs`` blocks count, and one bad input invalidates the proposal, as published."""
    reject_constant_outputs: bool = False
    """Refuse induction proposals whose outputs are all equal."""

    # Rewards
    difficulty_samples: PositiveInt = 8
    """Solutions sampled per valid proposal to estimate its difficulty."""
    adaptive_samples: bool = False
    """Sample in two halves and stop after the first when all of its answers agree (all right or all wrong).
    Saves generation; biased: tasks of middling difficulty whose first half agrees by chance count as extreme
    (docs/conformance.md gives the size)."""
    learnability: Literal["one_minus", "inverse", "middle"] = "one_minus"
    """Proposer's reward for a solver accuracy a: ``one_minus`` is 1 - a, with a = 0 an extreme; ``inverse``
    is 1 - a, also at a = 0; ``middle`` is 4 a (1 - a), best at one half: with 8 samples ``one_minus`` rewards
    a task solved once the most, which is mostly luck."""
    extremes: float | None = None
    """Proposer's reward when the learnability is 0: -0.5 (code) or 0 (paper); null follows ``variant``."""
    duplicate_reward: float | None = None
    """Proposer's reward for a valid proposal that is already in the buffer, or that occurs twice in a step;
    null rewards it like any other, as published. A small model that finds one valid task then proposes it
    forever."""
    repetition_penalty: NonNegativeFloat = 0.0
    """Taken from the reward of a valid proposal, times the share of the latest 256 programs that are the same exercise by
    the shape of their syntax trees (``data/repetition``). Against a game that drifts into one genre: with 2, a program
    like a quarter of the others loses 0.5; never less than an invalid one gets. 0, as published, pays alike for all."""
    guesses: NonNegativeInt = 10
    """Typical inputs tried on the task of each abduction proposal: the most frequent ones, with as many arguments as its
    own, of the latest 256 abduction tasks. The share of tasks that one of them solves is ``data/guessable``. 0 tries
    none."""
    reject_guessable: bool = False
    """Refuse an abduction proposal that one of ``guesses`` solves, before its difficulty is sampled; it is paid like any
    other invalid one. Against a game that decays into guessing the usual input (docs/results.md)."""
    partial_proposal_reward: float = 0.0
    """Reward above -1 of an induction proposal that is well-formed but not valid, times the share of the
    required inputs and message that it has: 0.4 gives -0.7 for three of four parts. Needs ``usable_inputs``;
    it is never as much as for a valid, new proposal. 0 gives -1."""
    format_reward: bool = True
    """Give -1 to responses without the think/answer format; off, the format is ignored."""
    strict_format: bool = False
    """The think/answer format is each tag once, in order, and nothing after the answer. Off, whatever follows
    a complete answer is allowed, as published: ``</answer></think></answer>`` is rewarded as the right
    format, and a model learns to keep writing."""
    overlong_tokens: NonNegativeInt = 0
    """Length guard: over this many tokens before ``rollout.max_response_tokens`` a response's reward falls
    linearly, by ``overlong_penalty`` at the limit (DAPO's soft overlong punishment; both roles). 0 switches
    it off, as published: then wrong answers get the same reward at any length, and a collapsing model writes
    up to the limit."""
    overlong_penalty: NonNegativeFloat = 0.5
    """See ``overlong_tokens``."""
    short_wrong_tokens: NonNegativeInt = 0
    """Thought guard: a wrong answer of fewer tokens, the thought included, loses up to ``short_wrong_penalty`` more, in
    proportion to what is missing; a right one may be as short as it likes. Against thoughts that collapse: hard tasks
    get long thoughts and wrong answers, so that length itself seems to be what was wrong. 0 switches it off, as
    published. Not tried with real weights yet."""
    short_wrong_penalty: NonNegativeFloat = 0.25
    """See ``short_wrong_tokens``. No answer is paid less than -1 for being short."""
    induction_reward: Literal["binary", "accuracy", "if_one"] = "binary"
    """Verdict of an induction answer: ``binary`` all hidden pairs right, ``accuracy`` their share, ``if_one``
    at least one."""
    bool_equals_int: bool = False
    """Compatibility switch: accept ``True`` where 1 is right."""
    int_equals_float: bool = True
    """Accept ``1`` where 1.0 is right, and vice versa."""
    intrinsic: IntrinsicConfig = field(default_factory=IntrinsicConfig)

    # Buffer and selection
    program_filter: Literal["all", "non_one", "non_extremes"] = "all"
    """Valid proposals that enter the buffer: ``all``, ``non_one`` (accuracy below 1), ``non_extremes``
    (strictly between 0 and 1)."""
    buffer_bad_format: bool = True
    """Buffer valid programs whose response failed the think/answer format, as the published code does; their
    reward is -1 anyway."""
    buffer_capacity: int = 16384
    """Tasks kept per task type; beyond this, mastered tasks are evicted first, then the oldest."""
    mastered_visits: PositiveInt = 2
    """Number of consecutive visits with all answers right after which a task counts as mastered."""
    solve_selection: Literal["max_new", "uniform_total", "half_new", "step"] = "max_new"
    """How solve tasks are drawn: ``max_new``, ``uniform_total``, ``half_new`` or ``step``."""
    seed_share: Share = 0.0
    """Share of the rows of each solve stream taken from tasks that no model of this game proposed (seeds,
    your own files): an anchor against drifting towards the proposer's preferences. 0: whatever
    ``solve_selection`` draws, as published."""
    solve_group_size: PositiveInt = 1
    """Answers to each task of a solve stream, whose ``batch_size`` rows then have that many times fewer tasks. With
    ``advantage=group`` the answers to one task are compared with each other; a single answer is compared with those to
    other tasks, where long answers may look bad only because they belong to hard tasks."""
    solve_timing: Literal["next_step", "same_step"] | None = None
    """When accepted tasks are first solved: ``next_step`` (code) or ``same_step`` (paper); null follows
    ``variant``."""

    # Learning signal
    advantage: Literal["token", "sequence", "group"] | None = None
    """Whitening per stream: ``token`` (weighted by length; code), ``sequence`` (paper) or ``group`` (per
    task, where a task has several responses); null follows ``variant``."""
    train_on_samples: bool = False
    """Train on the difficulty samples too, as further responses of the solve streams (the published code
    discards them)."""

    # Composite functions
    composite_start_step: NonNegativeInt = 0
    """First step with composite functions in propose prompts; 0 = never."""
    composite_chance: Share = 0.5
    """Share of propose prompts that ask for composite functions once started."""
    composite_min: PositiveInt = 1
    """Fewest composite functions in a prompt."""
    composite_max: int = 2
    """Most composite functions in a prompt (inclusive)."""
    composite_schedule: bool = False
    """Raise ``composite_max`` by 1 (up to 3) and the chance by 0.01 (up to 0.8) every 50 steps from step 101
    on."""

    # Zero-data start
    seed_factor: PositiveInt = 4
    """Seeding from the identity program stops at batch_size x this many tasks."""
    seed_rounds: PositiveInt = 40
    """Rounds of batch_size proposals after which seeding stops, even if the buffers are not full; a weak
    model cannot fill them."""

    transcripts_per_stream: NonNegativeInt = 3
    """Responses per stream and step kept as transcripts for people to read."""

    @property
    def extreme_reward(self) -> float:
        return self.extremes if self.extremes is not None else {"code": -0.5, "paper": 0.0}[self.variant]

    @property
    def advantage_mode(self) -> str:
        return self.advantage or {"code": "token", "paper": "sequence"}[self.variant]

    @property
    def solves_same_step(self) -> bool:
        return (self.solve_timing or {"code": "next_step", "paper": "same_step"}[self.variant]) == "same_step"

    def contradictions(self) -> Iterator[str]:
        if not self.task_types or len(set(self.task_types)) != len(self.task_types):
            yield f"selfplay.task_types is {self.task_types}; name at least one, each once"
        if (
            self.train_propose
            and "induction" in self.task_types
            and not {"abduction", "deduction"} & set(self.task_types)
        ):
            yield "selfplay.task_types: induction takes its programs from abduction or deduction tasks; add one of them"
        yield from self._induction_contradictions()
        if self.buffer_capacity < self.batch_size:
            yield f"selfplay.buffer_capacity is {self.buffer_capacity}; it must hold at least batch_size={self.batch_size} tasks"
        if self.composite_max < self.composite_min:
            yield f"selfplay.composite_max={self.composite_max} is below composite_min={self.composite_min}"
        if self.composite_start_step and self.references <= self.composite_max:
            yield (
                f"selfplay.references={self.references} leaves no reference beside {self.composite_max} composite functions; "
                "raise it above composite_max"
            )
        if self.advantage_mode == "group" and not self.train_on_samples:
            yield "selfplay.advantage=group needs several responses per task; set selfplay.train_on_samples=true"
        if self.batch_size % self.solve_group_size:
            yield f"selfplay.solve_group_size={self.solve_group_size} must divide selfplay.batch_size={self.batch_size}"
        if self.solve_group_size > 1 and self.solves_same_step:
            yield "selfplay.solve_group_size needs tasks from the buffer; with same-step solving each proposal is solved once, so it is 1"
        if self.batch_size == 1 and not self.train_on_samples:
            yield (
                "selfplay.batch_size=1 leaves each stream one response, which is compared with itself: nothing would be learnt; "
                "to save memory lower train.micro_batch_tokens"
            )
        if self.reject_guessable and not self.guesses:
            yield (
                "selfplay.reject_guessable, which the recipes for instruct models switch on, needs inputs to try, and selfplay.guesses "
                "is 0; set selfplay.reject_guessable=false too, or selfplay.guesses to 1 or more"
            )
        if self.adaptive_samples and self.difficulty_samples < 2:
            yield "selfplay.adaptive_samples needs selfplay.difficulty_samples of at least 2"

    def _induction_contradictions(self) -> Iterator[str]:
        start = self.induction_inputs_start
        if start and not 2 <= start <= self.num_inputs:
            yield f"selfplay.induction_inputs_start is {start}; it is 0 (no curriculum) or from 2 to selfplay.num_inputs={self.num_inputs}"
        if (
            self.induction_prompt == "example"
            and self.num_inputs + self.induction_spare_inputs > MOST_EXAMPLE_INPUTS
        ):
            yield (
                f"selfplay.induction_prompt=example shows at most {MOST_EXAMPLE_INPUTS} inputs; num_inputs and induction_spare_inputs are "
                f"{self.num_inputs} and {self.induction_spare_inputs}; ask for fewer, or set selfplay.induction_prompt=numbered"
            )
        if self.induction_prompt == "example" and not self.usable_inputs:
            yield "selfplay.induction_prompt=example could be copied; selfplay.usable_inputs=true refuses copies, set it too"
        if self.partial_proposal_reward and not self.usable_inputs:
            yield "selfplay.partial_proposal_reward counts usable inputs; set selfplay.usable_inputs=true"
        if not 0 <= self.partial_proposal_reward <= 1 + self.extreme_reward:
            yield (
                f"selfplay.partial_proposal_reward is {self.partial_proposal_reward}; it must be at least 0, and at most "
                f"{1 + self.extreme_reward:g}, so that half a proposal is never paid more than a valid one (the extreme reward is "
                f"{self.extreme_reward:g})"
            )
