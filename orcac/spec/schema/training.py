"""Students, the stages in which they are trained, their replicates, and the hardware of all jobs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator, Field, StrictBool, Tag, model_validator
from pydantic_core import PydanticCustomError

from orcac.fields import NUMBERS_ONLY, Count, Number, Share, Whole, execution, semantic
from orcac.recipe import Frozen
from orcac.spec.schema.answers import Measure
from orcac.spec.units import (
    BatchSize,
    Learnt,
    Megabytes,
    Minutes,
    Name,
    Rows,
    RowsOrTokens,
    ShortForm,
    Targets,
)


class Shape(Frozen):
    # the largest values are ten times those of any published model: more of them would take all memory
    hidden: Count = semantic("width of the residual stream", le=200_000)
    layers: Count = semantic("number of blocks", le=2_000)
    heads: Count = semantic("number of attention heads", le=10_000)
    kv_heads: Count | None = semantic("number of key and value heads; that of `heads` when absent", None, le=10_000)
    intermediate: Count = semantic("width of the MLP", le=1_000_000)
    init_std: Number = semantic("standard deviation of the initial weights", 0.02, gt=0)
    tie_embeddings: StrictBool = semantic("use one matrix for input and output embeddings", False)


Size = Literal["tiny", "160M", "1B", "7B", "13B"]


class Tokenizer(Frozen):
    vocabulary: Annotated[int, Field(ge=300, le=10_000_000), NUMBERS_ONLY] = semantic(
        "size of the vocabulary of the byte-level BPE, with special tokens", unit="tokens"
    )
    train_on: tuple[Name, ...] = semantic(
        "datasets whose texts the tokenizer is trained on, the same for all arms", min_length=1
    )


class Adapter(Frozen):
    kind: Literal["lora"] = semantic("low-rank matrices beside the frozen ones of the student (LoRA)")
    rank: Count = semantic("rank of the matrices", 16)
    alpha: Number = semantic("scale of their product, which is multiplied by alpha / rank", 32, gt=0)
    targets: Targets = semantic(
        "modules that get matrices, by name, as in `[q_proj, v_proj]`; all-linear is every linear layer but the output "
        "layer",
        ("all-linear",),
    )
    dropout: Share = semantic("dropout before the matrices", 0.0, lt=1)
    quantize: Literal["nf4"] | None = semantic(
        "nf4: the frozen matrices have 4 bits (QLoRA). Needs orcac[quantize]", None
    )


class Student(Frozen):
    base: str | None = semantic(
        "a pretrained model: a Hugging Face model directory or a .gguf file, relative to the spec, which enters by "
        "content; or hf://OWNER/NAME[@REVISION], which enters by this reference",
        None,
    )
    size: Size | None = semantic("instead of `base`: a named LLaMA shape, trained from scratch", None)
    shape: Shape | None = semantic("instead of `base`: an explicit LLaMA shape, trained from scratch", None)
    tokenizer: Tokenizer | None = semantic("tokenizer of a student from scratch", None)
    template: Literal["own"] | None = semantic(
        "own: it is an error if a pretrained student cannot be trained in its own chat template. When absent, one of "
        "ours replaces such a template, and the run, the report and the card of the model give the reason",
        None,
    )
    system_role: Literal["system", "none"] = semantic(
        "none: the chat template of a pretrained student begins the user's turn with the system message, for a model "
        "that has no role for it",
        "system",
    )
    date: str | None = semantic(
        "date (YYYY-MM-DD) that a pretrained student's chat template shows if it shows one; 2026-01-01 when absent",
        None,
    )
    seed: Whole | None = semantic(
        "seed of the initial weights and of the order of training; the spec's seed when absent. To train again on the "
        "same data, write `replicates`",
        None,
        ge=0,
        le=2**32 - 1,
    )
    adapter: Adapter | None = semantic(
        "train an adapter, and not all weights; all stages of a curriculum go on with it. Needs orcac[adapters]",
        None,
    )
    max_length: Count = semantic("length of a row", 2048, unit="tokens")
    packing: Literal["best-fit", "shuffle", "none"] = semantic(
        "how examples are packed into rows; shuffle (and fill) is the paper's way (§4.1). none gives each example a "
        "row of its own, for models that cannot separate examples of one row",
        "best-fit",
    )
    isolation: StrictBool = semantic(
        "the model separates the examples of one row. false: an example attends to those before it in its row, and "
        "positions run on through the row",
        True,
    )
    like: Size | None = execution("for estimates: the shape of a `base` that is not on this machine", None)


PAPERS_EPOCHS = 4


class Part(Frozen):
    share: Share = semantic("share of the mixture; those of all parts add up to 1", gt=0)
    learn: Learnt | None = semantic(
        "parts of this dataset's responses that are learnt; those of the stage when absent", None
    )


def _expand_short_part(value: object) -> object:
    """Return the full form of a part that is written as its share."""
    return value if isinstance(value, dict | Part) else {"share": value}


Parts = dict[
    Name,
    Annotated[
        Part, ShortForm(_expand_short_part, {"type": "number"}, {"type": "string", "pattern": "^ *[0-9_.]+ *% *$"})
    ],
]


class Order(Frozen):
    by: Measure = semantic(
        "length: the learnt tokens of an example, short ones first. pass_rate: the share of right answers to its "
        "question, as in `datasets.D.sample.by`, easy ones first; `{judge: NAME}`: the points of the answers to it, as "
        "there, those with most points first. Examples of questions without such a value come last"
    )
    descending: StrictBool = semantic("long ones, or hard ones, first", False)
    of: Name | None = semantic(
        "with pass_rate or a judge: the dataset whose answers are rated; that of the examples when absent", None
    )


def _expand_shuffled(value: object) -> object:
    return None if value == "shuffled" else value


class SameAs(Frozen):
    same_as: Name = semantic("arm of this spec, whose figure is taken")
    stages: tuple[Name, ...] = semantic(
        "stages of that arm, whose figures are added up; its stage of the same name when absent", ()
    )


Length = Annotated[
    Annotated[SameAs, Tag("same")] | Annotated[Count, Tag("count")],
    Discriminator(lambda value: "same" if isinstance(value, dict | SameAs) else "count"),
]


class Stage(Frozen):
    dataset: Name | None = semantic("dataset that the student is trained on", None)
    data: Parts = semantic(
        "instead of `dataset`: a mixture, dataset -> its share, as in `{long: 0.8, short: 0.2}`, or `{share, learn}`",
        {},
    )
    shares: Literal["examples", "tokens"] = semantic("unit of the shares of `data` and of `take`", "examples")
    take: Count | None = semantic(
        "size of the mixture in an epoch, in examples or tokens; when absent, the largest that repeats no example, or "
        "with `repeat` the smallest that has every example",
        None,
    )
    examples: SameAs | None = semantic(
        "instead of `take`: an epoch has as many examples as the rows of another arm's stage, `{same_as: ARM}`", None
    )
    dollars: SameAs | None = semantic(
        "instead of `take`: an epoch has as many examples as can be bought for the dollars of another arm's stage, "
        "`{same_as: ARM}`. An example costs what all answers to its dataset cost, by their tokens and the teacher's "
        "`price`, divided by the examples that are left to train on",
        None,
    )
    repeat: StrictBool = semantic(
        "repeat the examples of a part that is too short for its share; without it, the run stops there", False
    )
    learn: Learnt = semantic(
        "parts of the teachers' responses that are learnt: [reasoning, answer], where they have reasoning, or [answer]",
        ("reasoning", "answer"),
    )
    order: Annotated[Order | None, ShortForm(_expand_shuffled, {"const": "shuffled"})] = semantic(
        "`shuffled`, which is the default, draws the order of the rows anew in each epoch. By an order, examples are "
        "packed and trained on in it, in every epoch; each row is filled until the next example does not fit",
        None,
    )
    tokens: Length | None = semantic(
        "length of the stage, instead of `epochs`: it ends with the step that reaches this many tokens; "
        "padding is not counted. `{same_as: ARM}` is as many as another arm trains on, whose rows are counted",
        None,
        unit="tokens",
    )
    steps: Length | None = semantic(
        "length of the stage, instead of `epochs`: its number of optimizer steps. `{same_as: ARM}` is as many as "
        "another arm's stage has, whose rows are counted",
        None,
    )
    epochs: Count | None = semantic(
        "passes over the dataset; unless `tokens` or `steps` is given, the default is the paper's 4",
        default_factory=lambda given: None if given.get("tokens") or given.get("steps") else PAPERS_EPOCHS,
    )
    learning_rate: Number = semantic("largest learning rate", 2e-5, gt=0)
    schedule: Literal["constant", "linear", "cosine"] = semantic("learning rate schedule after the warmup", "linear")
    warmup: Share = semantic("warmup steps, as a share of all steps", 0.03)
    batch: RowsOrTokens = semantic(
        "size of an optimizer step, over all GPUs; in tokens (`327_680 tokens`) a multiple of student.max_length",
        BatchSize(160),
    )
    weight_decay: Number = semantic("weight decay of AdamW", 0.0, ge=0)
    max_grad_norm: Number = semantic("norm that gradients are clipped to", 1.0, gt=0)
    holdout: Share | None = semantic(
        "share of the questions that are kept apart, by teacher and source, to measure the loss on them before, during "
        "and after training; stages with the same share keep the same questions apart",
        None,
        gt=0,
        le=0.5,
    )
    keep: Literal["last", "best"] = semantic(
        "weights that the stage leaves: those of its last step, or with `holdout` those with the lowest loss on the "
        "questions kept apart, which is then measured after each epoch as well",
        "last",
    )
    optimizer: Literal["fresh", "carry"] = semantic(
        "AdamW's moments start at zero, or are carried over from the stage before; the paper does not specify which",
        "fresh",
    )

    @property
    def datasets(self) -> tuple[str, ...]:
        """The names of the datasets that the student is trained on."""
        return (self.dataset,) if self.dataset else tuple(self.data)

    @model_validator(mode="after")
    def _has_data(self) -> Stage:
        if not self.datasets:
            raise PydanticCustomError("no_data", "the stage needs either `dataset` or `data`")
        return self


Runs = Annotated[int, Field(ge=1, le=100), NUMBERS_ONLY]


class Replicates(Frozen):
    """Runs of each arm that differ by chance alone; together they are one row of their arm."""

    training: Runs | None = semantic(
        "runs of each arm on the same data, with training seeds of their own; the first run has the spec's seeds. "
        "`replicates: 5` is short for this",
        None,
    )
    base: Runs | None = semantic("runs of the base, if it has another number: it is in every comparison", None)
    arms: Runs | None = semantic("runs of each other arm, if these have another number", None)
    data: Runs = semantic(
        "draws of the data (queries, their system messages, subsets, sampled answers), each with as many runs; the "
        "benchmarks' items stay the same",
        1,
    )

    def runs(self, *, is_base: bool) -> int:
        """Return the number of training runs of one arm on each draw of the data."""
        return (self.base if is_base else self.arms) or self.training or 1


def _expand_short_replicates(value: object) -> object:
    """Return the full form of replicates that are written as a number."""
    return {"training": value} if isinstance(value, int | float) and not isinstance(value, bool) else value


Replicated = Annotated[
    Replicates, ShortForm(_expand_short_replicates, {"type": "integer", "minimum": 1, "maximum": 100})
]


Gpu = Literal[
    "v100-32gb", "a100-40gb", "a100-80gb", "h100-80gb", "h200-141gb", "b200-192gb", "l40s-48gb", "rtx4090-24gb"
]


Features = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]+([&|][A-Za-z0-9_.:-]+)*$", max_length=200)]


class Work(Frozen):
    threads: Count = execution("CPU threads of a job", 1)
    memory: Megabytes | None = execution("memory of a machine for a job; estimated when absent", None, unit="MiB")
    time: Minutes | None = execution("time limit of a job; estimated when absent", None, unit="minutes")
    constraint: Features | None = execution(
        "features that the machine must have, as Slurm's `--constraint` takes them: `a100`, `a100|h100`, `ib&ssd`", None
    )


class EvalWork(Work):
    engine: Literal["transformers", "vllm"] = execution(
        "program that generates students' answers; vllm serves the student while it is asked. Rows of different "
        "engines get no verdict between them",
        "transformers",
    )
    gpus: Annotated[int, Field(ge=0, le=16), NUMBERS_ONLY] = execution(
        "GPUs of a job: 0 or 1; with the engine vllm also more, which share the model's tensors", 0
    )
    gpu: Gpu | None = execution(
        "model of the GPU, for estimates; the scheduler is asked for it if the profile has its name there", None
    )
    shards: Annotated[int, Field(ge=1, le=1000), NUMBERS_ONLY] = execution(
        "number of jobs that share the items of an evaluation, each with `gpus` GPUs of its own", 1
    )
    batch: Rows | None = execution(
        "number of items answered at once; chosen for the device when absent", None, unit="items"
    )


class TrainWork(Work):
    nodes: Annotated[int, Field(ge=1, le=1024), NUMBERS_ONLY] = execution("machines of a job", 1)
    gpus: Annotated[int, Field(ge=0, le=16), NUMBERS_ONLY] = execution(
        "GPUs of each machine; with 0 the student is trained on the CPU", 0
    )
    processes: Annotated[int, Field(ge=1, le=256), NUMBERS_ONLY] = execution(
        "if `gpus` is 0: processes of each machine, which share the batch and the threads; otherwise each GPU has one "
        "process",
        1,
    )
    gpu: Gpu | None = execution(
        "model of the GPU: its memory, which must hold the stage, and its peak arithmetic; the scheduler is asked for "
        "it if the profile has its name there",
        None,
    )
    precision: Literal["fp32", "bf16"] = semantic("precision of the arithmetic", "fp32")
    zero: Literal[0, 1, 2, 3] = execution(
        "DeepSpeed ZeRO stage: the processes share AdamW's state (1), also the gradients (2), also the weights (3); "
        "0 is plain data parallelism",
        0,
    )
    offload: StrictBool = execution(
        "with `zero`: keep AdamW's state in the machine's memory and update it on the CPU", False
    )
    recompute: StrictBool = execution(
        "keep only each layer's input and compute the rest again in the backward pass: less memory, a third more "
        "arithmetic",
        False,
    )
    compile: StrictBool = execution("run torch.compile on the student", False)
    micro_batch: Rows = execution("size of one forward pass of one process", 1, unit="rows")
    mfu: Share | None = execution(
        "share of the GPU's peak that the model's arithmetic reaches, if you have measured it; padding counts as work, "
        "the repeated arithmetic of `recompute` does not",
        None,
    )
    price: Number | None = execution("price of a GPU, for estimates", None, unit="USD per hour", ge=0)


class Hardware(Frozen):
    train: TrainWork = semantic(
        "resources of `train` jobs; `student` jobs use its threads, memory and time", TrainWork()
    )
    eval: EvalWork = execution("resources of `eval` jobs", EvalWork())
    other: Work = execution("resources of all other jobs", Work())


SHAPES = {
    "tiny": Shape(hidden=128, layers=4, heads=4, intermediate=320, init_std=0.05, tie_embeddings=True),  # 0.84 M
    "160M": Shape(hidden=768, layers=12, heads=12, intermediate=3072),  # the smallest public LLaMA shape
    "1B": Shape(hidden=2048, layers=22, heads=32, kv_heads=4, intermediate=5632),  # TinyLlama's
    "7B": Shape(hidden=4096, layers=32, heads=32, intermediate=11008),  # LLaMA's
    "13B": Shape(hidden=5120, layers=40, heads=40, intermediate=13824),  # LLaMA's
}
