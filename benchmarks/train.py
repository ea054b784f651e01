"""The speed of training on a CPU, compared with TRL's SFTTrainer and transformers' own Trainer.

    python benchmarks/train.py                       with the Trainer, and TRL if this Python has it
    python benchmarks/train.py --trl VENV/bin/python   TRL from an environment of its own (same torch, please)
    python benchmarks/train.py tiny --micro 4        one size, one micro-batch
    python benchmarks/train.py tiny-lora --kills 20  a stage that is killed at random moments; so tiny-zero
    python benchmarks/train.py tiny-eval --kills 20  an evaluation that is killed at random moments
    python benchmarks/train.py tiny-lora             LoRA matrices, beside TRL and the Trainer with peft

Each side is a process of its own, the sides take turns, and all train the same weights on the same packed rows in the
same order, with the same optimizer, schedule and threads. `ours` is a whole `train` node. TRL gets the rows in the form
of its own packing (padding cut off, with `seq_lengths`; `bfd`, so it restarts the positions and isolates the examples);
the Trainer gets the three tensors of our rows. No side saves a checkpoint. So losses must agree to rounding, or the
figures would compare different work: that is checked.

The time runs from the end of the first step to that of the last; the run with the least CPU time of each side counts.
Padding tokens are not counted. Peaks of memory are those of the process, so they include imports (`imports MB`).
Examples are random tokens, common ones far more often than rare ones; two fifths of an example is its prompt.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import importlib.util
import itertools
import json
import os
import platform
import random
import resource
import shutil
import sys
import tempfile
import time
import traceback
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from child import measure_child  # noqa: E402

if TYPE_CHECKING:
    import numpy as np
    import torch
    from transformers import PreTrainedModel
    from transformers.trainer_callback import CallbackHandler

    from orcac.job import Job
    from orcac.train.data import PackedRows
    from orcac.train.recipe import Lora

TOLERANCE = {"fp32": 1e-3, "bf16": 5e-2}  # of a loss, over the whole run: the order of the sums differs at each step


@dataclasses.dataclass(frozen=True)
class Case:
    """A model, its rows and the settings of its training."""

    name: str
    vocabulary: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    intermediate: int
    max_length: int  # tokens per row
    batch: int = 4  # rows per step
    micro: int = 1  # rows per forward pass
    steps: int = 40
    precision: str = "fp32"
    gpus: int = 0
    recompute: bool = False
    threads: int = 1
    rank: int = 0  # of LoRA matrices on all linear layers; 0 trains all weights
    zero: int = 0  # DeepSpeed's stage, in two processes
    items: int = 0  # of an evaluation of the student, which is then not trained
    seed: int = 7
    learning_rate: float = 1e-3


class Result(TypedDict):
    """The figures of one run of one side."""

    wall_s: float
    cpu_s: float
    losses: list[float]
    imports_mb: float
    mb: float
    gpu_mb: float
    difference: float  # the greatest of its losses from ours


CASES = {
    "tiny": Case("tiny", 640, 128, 4, 4, 4, 344, 256, steps=80),  # `size: tiny`, 0.84 M
    "wide": Case("wide", 32_000, 256, 4, 8, 8, 688, 512, steps=8),  # a model whose loss layer dominates: 19.5 M
    "tiny-lora": Case("tiny-lora", 640, 128, 4, 4, 4, 344, 256, steps=80, rank=8),
    "wide-lora": Case("wide-lora", 32_000, 256, 4, 8, 8, 688, 512, steps=8, rank=8),
}
KILLED = {  # besides these; not compared
    "tiny-zero": Case("tiny-zero", 640, 128, 4, 4, 4, 344, 256, zero=2),
    "tiny-eval": Case("tiny-eval", 640, 128, 4, 4, 4, 344, 256, items=160),
}


# --- the inputs of all sides -------------------------------------------------------------------------------------


def write_student(folder: Path, case: Case) -> None:
    """Write a `student` artifact: random weights, and a tokenizer, from which TRL takes the pad token."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(case.seed)
    config = LlamaConfig(
        vocab_size=case.vocabulary,
        hidden_size=case.hidden,
        num_hidden_layers=case.layers,
        num_attention_heads=case.heads,
        num_key_value_heads=case.kv_heads,
        intermediate_size=case.intermediate,
        max_position_embeddings=case.max_length,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    LlamaForCausalLM(config).save_pretrained(folder / "model")
    names = ["<pad>", "<s>", "</s>", *(f"w{number}" for number in range(3, case.vocabulary))]
    words = Tokenizer(models.WordLevel({name: number for number, name in enumerate(names)}, unk_token="<pad>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    marks = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>"}
    template = "{{ '<s> ' }}{% for one in messages %}{{ one['content'] + ' ' }}{% endfor %}"
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, chat_template=template, **marks)
    tokenizer.save_pretrained(folder / "model")


def write_inputs(folder: Path, case: Case) -> None:
    """Write what all sides start from: the student, its rows and, if the case has any, its LoRA matrices."""
    write_student(folder / "student", case)
    write_rows(folder / "rows", case)
    if case.rank:
        write_adapter(folder, case)


def write_adapter(folder: Path, case: Case) -> None:
    """Write the LoRA matrices that all sides start from, the second ones drawn at random instead of zeros."""
    import torch

    from orcac.train import adapter, state

    model = load_student(folder, case)
    adapter.attach(model, lora_of(case), seed=case.seed, start=None, halves_frozen=False)
    for name, part in state.trained_parameters(model).items():
        if "lora_B" in name:
            torch.nn.init.normal_(part, std=0.02)
    (folder / "adapted").mkdir()
    trainer = types.SimpleNamespace(model=model, model_wrapped=model)
    adapter.save(trainer, lora_of(case), folder / "adapted" / adapter.FOLDER)


def lora_of(case: Case) -> Lora:
    from orcac.train.recipe import Lora

    return Lora(rank=case.rank, alpha=2 * case.rank, targets=("all-linear",))


def write_rows(folder: Path, case: Case) -> None:
    """Write a `tokenize` artifact with `batch` rows per step."""
    import numpy as np

    from orcac.tokenize import rowfile
    from orcac.tokenize.pack import best_fit_decreasing

    rng = np.random.default_rng(case.seed)
    rows = case.steps * case.batch
    wanted = rows * case.max_length
    lengths = np.clip(rng.lognormal(np.log(case.max_length / 3), 0.6, size=rows * 8), 8, case.max_length).astype(int)
    lengths = lengths[: int(np.searchsorted(np.cumsum(lengths), wanted * 1.05))]  # slightly more than the rows hold
    packed = best_fit_decreasing(lengths, case.max_length)
    packed = [packed[row] for row in rng.permutation(len(packed))[:rows]]
    folder.mkdir()
    weights = 1 / np.arange(1, case.vocabulary - 16 + 1)
    lengths = lengths[[index for members in packed for index in members]]
    ids = np.concatenate([16 + rng.choice(len(weights), size, p=weights / weights.sum()) for size in lengths])
    ends = np.cumsum([0, *map(len, packed)]).tolist()
    rowfile.write(
        folder / "rows.safetensors",
        [range(start, end) for start, end in itertools.pairwise(ends)],
        ids=ids,
        lengths=lengths,
        prompt_lengths=lengths * 2 // 5,
        pad=0,
        max_length=case.max_length,
    )
    counts = {
        "examples": len(lengths),
        "packed": len(lengths),
        "rows": rows,
        "tokens": int(lengths.sum()),
        "supervised_tokens": int((lengths - lengths * 2 // 5).sum()),
        "fill": float(lengths.sum() / (rows * case.max_length)),
    }
    (folder / "counts.json").write_text(json.dumps(counts) + "\n", encoding="utf-8")


# --- the sides, each in a process of its own ---------------------------------------------------------------------


class StepTimer:
    """A record of the time at the end of each step, and of each logged loss, of any Trainer in this process."""

    def __init__(self) -> None:
        import torch
        from transformers.trainer_callback import CallbackHandler

        self.wall: list[float] = []
        self.cpu: list[float] = []
        self.losses: list[float] = []
        step_end, log = CallbackHandler.on_step_end, CallbackHandler.on_log

        def on_step_end(handler: CallbackHandler, *given: object) -> object:
            if torch.cuda.is_initialized():
                torch.cuda.synchronize()
            self.wall.append(time.perf_counter())
            self.cpu.append(time.process_time())
            return step_end(handler, *given)

        def on_log(
            handler: CallbackHandler, args: object, state: object, control: object, logs: dict[str, float]
        ) -> object:
            if "loss" in logs:
                self.losses.append(logs["loss"])
            return log(handler, args, state, control, logs)

        CallbackHandler.on_step_end = on_step_end  # type: ignore[method-assign]
        CallbackHandler.on_log = on_log  # type: ignore[method-assign]


def stage_job(folder: Path, case: Case, place: Path, *, save_every: int = 10**6) -> Job:
    """Return the job of a `train` node that writes to `place`. `save_every`: seconds between checkpoints."""
    from orcac.train.recipe import TrainExecution, TrainRecipe

    recipe = TrainRecipe(
        seed=case.seed,
        epochs=1,
        learning_rate=case.learning_rate,
        warmup=0.0,  # transformers counts the steps of a warmup in another way
        batch_rows=case.batch,
        precision=case.precision,  # type: ignore[arg-type]
        adapter=lora_of(case) if case.rank else None,
    )
    execution = TrainExecution(
        threads=case.threads,
        gpus=case.gpus,
        micro_batch_rows=case.micro,
        recompute=case.recompute,
        zero=case.zero,
        processes=2 if case.zero else 1,
        save_every_seconds=save_every,
    )
    start = folder / ("adapted" if case.rank else "student")
    inputs = {"rows": [folder / "rows"], "start": [start], "base": [folder / "student"] * bool(case.rank)}
    return make_job("train", case, place, recipe=recipe, execution=execution, inputs=inputs)


def make_job(kind: str, case: Case, place: Path, **fields: object) -> Job:
    from orcac.job import Job

    for name in ("out", "work"):
        (place / name).mkdir(parents=True, exist_ok=True)
    own = {"out": place / "out", "work": place / "work", "answers": place}
    return Job(ref=f"{kind}/x", label=case.name, by_ref={}, **own, **fields)  # type: ignore[arg-type]


def eval_job(folder: Path, case: Case, place: Path) -> Job:
    """Return the job of an `eval` node that writes to `place`: sampled answers to random words."""
    from orcac import rows
    from orcac.eval.recipe import EvalExecution, EvalRecipe

    items = folder / "items" / "prompts.parquet"
    if not items.exists():
        items.parent.mkdir()
        draws = random.Random(case.seed)
        queries = [" ".join(f"w{draws.randrange(3, case.vocabulary)}" for _ in range(12)) for _ in range(case.items)]
        shared = {"source": "b", "task": "t", "system_id": 1, "system": "", "reference": "", "options": []}
        rows.write(items, rows.Prompt, (rows.Prompt(id=str(n), query=text, **shared) for n, text in enumerate(queries)))
    return make_job(
        "eval",
        case,
        place,
        recipe=EvalRecipe(temperature=0.7, max_new_tokens=24, seed=case.seed),
        execution=EvalExecution(batch_size=8, threads=case.threads),
        inputs={"model": [folder / "student"], "items": [items.parent]},
    )


def ours(folder: Path, case: Case, place: Path, timer: StepTimer) -> None:
    """Make a `train` node, and write the order of its rows to `order.json`."""
    without_tensorboard()
    from orcac.train.data import PackedRows
    from orcac.train.run import run

    order: list[int] = []
    collate = PackedRows.collate

    def recording(self: PackedRows, rows: Sequence[int]) -> dict[str, torch.Tensor]:
        order.extend(map(int, rows))
        return collate(self, rows)

    PackedRows.collate = recording  # type: ignore[method-assign]
    run(stage_job(folder, case, place))
    lines = (place / "out" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    timer.losses = [json.loads(line)["loss"] for line in lines]
    (folder / "order.json").write_text(json.dumps(order[-case.steps * case.batch :]))


def without_tensorboard() -> None:
    """Replace tensorboardX by an empty module if it is not installed: its files are not part of the comparison."""
    if importlib.util.find_spec("tensorboardX"):
        return
    from transformers import Trainer  # noqa: F401 (it looks for tensorboardX itself)

    class Nothing:
        Value = None

        def __init__(self, path: object = None, **_: object) -> None:
            if isinstance(path, str):
                Path(path).touch()

        def __getattr__(self, _: str) -> Callable[..., bytes]:
            return lambda *_: b""

    class EmptyModule(types.ModuleType):
        Event = Summary = RecordWriter = Nothing

    Nothing.Value = Nothing  # type: ignore[assignment]
    for name in ("", ".proto", ".proto.event_pb2", ".proto.summary_pb2", ".record_writer"):
        sys.modules[f"tensorboardX{name}"] = EmptyModule(f"tensorboardX{name}")


def read_in_order(folder: Path) -> list[dict[str, np.ndarray]]:
    """Return the rows, as arrays, in the order of our training."""
    from orcac.tokenize import rowfile

    file = rowfile.read(folder / "rows" / "rows.safetensors")
    order = json.loads((folder / "order.json").read_text())
    return [{name: array[row] for name, array in file._asdict().items()} for row in order]


def build_arguments(case: Case, place: Path, **more: object) -> dict[str, object]:
    """Return the arguments with which another Trainer does the same work as ours."""
    return {
        "output_dir": str(place),
        "seed": case.seed,
        "per_device_train_batch_size": case.micro,
        "gradient_accumulation_steps": case.batch // case.micro,
        "num_train_epochs": 1,
        "learning_rate": case.learning_rate,
        "lr_scheduler_type": "linear",
        "warmup_steps": 0,
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "optim": "adamw_torch_fused",
        "bf16": case.precision == "bf16",
        "use_cpu": not case.gpus,
        "activation_checkpointing": case.recompute,
        "activation_checkpointing_kwargs": {"use_reentrant": False} if case.recompute else None,
        "save_strategy": "no",
        "logging_steps": 1,
        "disable_tqdm": True,
        "report_to": "none",
        "train_sampling_strategy": "sequential",
        "dataloader_pin_memory": case.gpus > 0,
    } | more


def load_student(folder: Path, case: Case) -> PreTrainedModel:
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(case.threads)
    model = AutoModelForCausalLM.from_pretrained(
        str(folder / "student" / "model"), dtype=torch.float32, attn_implementation="sdpa"
    )
    model.config.use_cache = False  # with a cache examples that share a row see each other
    return model


def load_peer(folder: Path, case: Case) -> PreTrainedModel:
    """Return the model as the other sides train it: with peft's own wrapper if it has an adapter."""
    model = load_student(folder, case)
    if not case.rank:
        return model
    from peft import PeftModel

    return PeftModel.from_pretrained(model, str(folder / "adapted" / "adapter"), is_trainable=True)


def trl(folder: Path, case: Case, place: Path, timer: StepTimer) -> None:
    import datasets
    import numpy as np
    from transformers import AutoTokenizer
    from trl import SFTConfig, SFTTrainer  # type: ignore[import-not-found]

    datasets.disable_progress_bars()
    records = []
    for row in read_in_order(folder):
        size = int(np.flatnonzero(row["labels"] != -100)[-1]) + 1
        starts = [*np.flatnonzero(row["position_ids"][:size] == 0).tolist(), size]
        records.append(
            {
                "input_ids": row["input_ids"][:size].tolist(),
                "labels": row["labels"][:size].tolist(),
                "seq_lengths": np.diff(starts).tolist(),
            }
        )
    config = SFTConfig(
        **build_arguments(case, place),
        max_length=case.max_length,
        packing=True,
        dataset_kwargs={"skip_prepare_dataset": True},
    )
    SFTTrainer(
        model=load_peer(folder, case),
        args=config,
        train_dataset=datasets.Dataset.from_list(records),
        processing_class=AutoTokenizer.from_pretrained(str(folder / "student" / "model")),
    ).train()


def trainer(folder: Path, case: Case, place: Path, timer: StepTimer) -> None:
    import numpy as np
    from transformers import Trainer, TrainingArguments

    rows = [{name: array.astype(np.int64) for name, array in row.items()} for row in read_in_order(folder)]
    Trainer(
        model=load_peer(folder, case),
        args=TrainingArguments(**build_arguments(case, place, remove_unused_columns=False)),
        train_dataset=rows,
    ).train()


SIDES = {"ours": ours, "TRL": trl, "Trainer": trainer}


def child(side: str, folder: Path, given: str) -> None:
    """Run `train.py --child SIDE FOLDER CASE`: train once, and print time, memory and losses as JSON."""
    case = Case(**json.loads(given))
    os.environ |= {"HF_HUB_OFFLINE": "1"} | ({} if case.gpus else {"CUDA_VISIBLE_DEVICES": ""})
    import torch
    from transformers import Trainer  # noqa: F401

    if side == "TRL":
        from trl import SFTTrainer  # noqa: F401
    imports = peak_mb()
    timer = StepTimer()
    with tempfile.TemporaryDirectory() as place:
        SIDES[side](folder, case, Path(place), timer)
    result = {
        "wall_s": timer.wall[-1] - timer.wall[0],
        "cpu_s": timer.cpu[-1] - timer.cpu[0],
        "losses": timer.losses,
        "imports_mb": imports,
        "mb": peak_mb(),
        "gpu_mb": torch.cuda.max_memory_allocated() / 2**20 if case.gpus else 0.0,
    }
    print(json.dumps(result))


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


# --- the parent --------------------------------------------------------------------------------------------------


def measure(side: str, python: str, folder: Path, case: Case) -> Result:
    return measure_child(python, __file__, side, str(folder), json.dumps(dataclasses.asdict(case)))


def compare(case: Case, pythons: dict[str, str], repeats: int) -> tuple[int, dict[str, Result]]:
    """Return the number of timed tokens and each side's best run, with its losses' greatest difference from ours.

    Raises AssertionError if the losses differ by more than rounding.
    """
    import numpy as np

    from orcac.tokenize.rowfile import count_tokens, read

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_inputs(folder, case)
        runs: dict[str, list[Result]] = {side: [] for side in pythons}
        for _ in range(repeats):
            for side, python in pythons.items():
                runs[side].append(measure(side, python, folder, case))
        real = count_tokens(read(folder / "rows" / "rows.safetensors")).real
        timed = json.loads((folder / "order.json").read_text())[case.batch :]
        tokens = int(np.sum(real[timed]))
    best = {side: min(results, key=lambda run: run["cpu_s"]) for side, results in runs.items()}
    for side, result in best.items():
        result["difference"] = max(abs(a - b) for a, b in zip(result["losses"], best["ours"]["losses"], strict=True))
        assert result["difference"] < TOLERANCE[case.precision], f"{side} trains differently: {result['difference']}"
    return tokens, best


# --- kills ---------------------------------------------------------------------------------------------------------


def kill(case: Case, count: int) -> int:
    """Kill a case's node `count` times at random moments, and return the number of times that it ended in between.

    A try is a forked process, killed with the processes that it has started, and goes on from what the killed ones
    left. Raises AssertionError if a node does not end with the bytes of the one that was never killed.
    """
    import psutil
    import torch

    torch.set_num_threads(case.threads)
    moments = random.Random(case.seed)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_inputs(folder, case)
        start = time.monotonic()
        assert os.waitstatus_to_exitcode(os.waitpid(_start(folder, case, folder / "whole"), 0)[1]) == 0
        whole, left, ended = time.monotonic() - start, count, 0
        while left:
            tried = folder / f"killed-{ended}"
            while left:
                child = _start(folder, case, tried)
                time.sleep(moments.uniform(0, whole))
                if os.waitpid(child, os.WNOHANG) == (0, 0):
                    for process in [psutil.Process(child), *psutil.Process(child).children(recursive=True)]:
                        with contextlib.suppress(psutil.NoSuchProcess):
                            process.kill()
                    os.waitpid(child, 0)
                    left -= 1
                else:
                    break
            else:
                assert os.waitstatus_to_exitcode(os.waitpid(_start(folder, case, tried), 0)[1]) == 0
            ended += 1
            found, wanted = (_read_contents(one / "out") for one in (tried, folder / "whole"))
            assert found == wanted, [name for name in wanted if found.get(name) != wanted[name]]
            report(f"{count - left} of {count} kills: ended with the same {len(wanted)} files, bit for bit")
    return ended


def _start(folder: Path, case: Case, place: Path) -> int:
    """Make a case's node in a forked process, and return its id. As in the store, `out` is new and `work` is kept."""
    shutil.rmtree(place / "out", ignore_errors=True)
    if child := os.fork():
        return child
    try:
        with (folder / "log.txt").open("a") as log:
            os.dup2(log.fileno(), 2)
            if case.items:
                from orcac.eval.run import run as evaluate

                evaluate(eval_job(folder, case, place))
            else:
                from orcac.train.run import run

                run(stage_job(folder, case, place, save_every=0))
            os._exit(0)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


def _read_contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def report(line: str) -> None:
    print(line, flush=True)


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        return child(sys.argv[2], Path(sys.argv[3]), sys.argv[4])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="SIZE", help=f"any of {', '.join(CASES)} (default)")
    parser.add_argument("--trl", metavar="PYTHON", help="a Python that has TRL")
    parser.add_argument("--micro", type=int, nargs="*", default=[1, 4], help="rows per forward pass, of 4 per step")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--kills", type=int, metavar="N", help=f"instead: kill N times, also {', '.join(KILLED)}")
    given = parser.parse_args()
    if given.trl is None and importlib.util.find_spec("trl"):
        given.trl = sys.executable
    pythons = {"ours": sys.executable, "TRL": given.trl, "Trainer": sys.executable}
    from orcac.model.offline import go_offline

    go_offline(threads=1)
    import torch
    import transformers

    report(f"Python {platform.python_version()}, torch {torch.__version__}, transformers {transformers.__version__}")
    if given.kills:
        for name in given.cases or CASES:
            kill(dataclasses.replace((CASES | KILLED)[name], steps=24), given.kills)
        return
    report(f"{given.threads} threads, best of {given.repeats}; {'TRL left out' if not given.trl else given.trl}\n")
    report("| size | batch | side | tokens/s | of ours | CPU s | of ours | peak MB | imports MB | loss | max diff |")
    report("|---|---|---|---|---|---|---|---|---|---|---|")
    for name in given.cases or CASES:
        for micro in given.micro:
            case = dataclasses.replace(CASES[name], micro=micro, threads=given.threads)
            tokens, best = compare(case, {side: python for side, python in pythons.items() if python}, given.repeats)
            for side, result in best.items():
                wall, cpu = (best["ours"][key] / result[key] for key in ("wall_s", "cpu_s"))
                report(
                    f"| {name} | {micro} × {case.batch // micro} | {side} "
                    f"| {tokens / result['wall_s']:,.0f} | {wall:.2f} "
                    f"| {result['cpu_s']:.1f} | {cpu:.2f} | {result['mb']:,.0f} | {result['imports_mb']:,.0f} "
                    f"| {result['losses'][0]:.3f} → {result['losses'][-1]:.3f} | {result['difference']:.0e} |"
                )


if __name__ == "__main__":
    main()
