"""Speed and correctness of training on a GPU: a LLaMA of 1.1 B parameters (TinyLlama's shape), rows of 2,048, bf16.

    python benchmarks/gpu_train.py                     all parts; a few minutes on one H100
    python benchmarks/gpu_train.py speed --micro 16    or: isolation, resume

Needs torch, transformers, accelerate, numpy, safetensors, pydantic, and this checkout. TRL is compared if it is
installed; TensorBoard's file stays empty if tensorboardX is not. Without a GPU every part runs on the CPU with a tiny
model, to show that it works: its figures are not those of a GPU.

    speed       a whole `train` node compared with TRL and transformers' Trainer, as in train.py: same weights, rows,
                order, optimizer; the sides take turns. MFU is 6 operations per token and parameter of a matrix product
                (so without the first embedding) and 12 · layers · width · length for attention, over the GPU's bf16
                peak; padding tokens are not counted
    isolation   logits of two examples in one row compared with those of each alone, for every installed attention, with
                one row per batch and with two; and with a cache, which leaks, to show that the comparison finds a leak
    resume      a stage killed with SIGKILL after a checkpoint and started again, compared with one that was not killed
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]
import train  # noqa: E402

if TYPE_CHECKING:
    import torch

ONE_B = train.Case(
    "1.1B", 32_000, 2048, 22, 32, 4, 5632, 2048, batch=8, micro=8, steps=20, precision="bf16", gpus=1, threads=8
)
SMALL = dataclasses.replace(train.CASES["tiny"], name="tiny, CPU", steps=10, micro=4)
PARTS = ("speed", "isolation", "resume")
ATTENTIONS = ("eager", "sdpa", "flex_attention", "flash_attention_2", "flash_attention_3")


def report(line: str) -> None:
    print(line, flush=True)


# --- speed -------------------------------------------------------------------------------------------------------


def speed(case: train.Case, repeats: int) -> None:
    pythons = {"ours": sys.executable, "Trainer": sys.executable}
    if importlib.util.find_spec("trl"):
        pythons["TRL"] = sys.executable
    tokens, best = train.compare(case, pythons, repeats)
    most = 2 * case.kv_heads * case.hidden // case.heads  # widths of the key and the value
    layer = case.hidden * (2 * case.hidden + most + 3 * case.intermediate)
    parameters = case.layers * layer + case.vocabulary * case.hidden  # the first embedding is no product
    operations = 6 * parameters + 12 * case.layers * case.hidden * case.max_length
    peak, source = measure_peak(case)
    report(f"{parameters / 1e6:,.1f} M parameters in products, rows of {case.max_length:,}, {case.precision};")
    report(f"{case.micro} × {case.batch // case.micro} rows per step; peak {peak / 1e9:,.0f} GFLOP/s ({source})\n")
    report("| side | tokens/s | of ours | MFU | peak GiB | loss | max diff |")
    report("|---|---|---|---|---|---|---|")
    for side, result in best.items():
        rate, speedup = tokens / result["wall_s"], best["ours"]["wall_s"] / result["wall_s"]
        memory = (result["gpu_mb"] or result["mb"]) / 1024
        report(
            f"| {side} | {rate:,.0f} | {speedup:.2f} | {rate * operations / peak:.1%} "
            f"| {memory:.1f} | {result['losses'][0]:.3f} → {result['losses'][-1]:.3f} | {result['difference']:.0e} |"
        )


def measure_peak(case: train.Case) -> tuple[float, str]:
    """Return the FLOP/s of the device and the source of that figure, from a process of its own, so that this one uses
    no GPU."""
    program = (
        "import torch, json; from orcac.train import meter; "
        f"torch.set_num_threads({case.threads}); "
        f"print(json.dumps(meter.find_peak(torch.device('{'cuda' if case.gpus else 'cpu'}'), '{case.precision}')))"
    )
    printed = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True, env=environment())
    peak, source = json.loads(printed.stdout.splitlines()[-1])
    return peak, source


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}


# --- isolation ---------------------------------------------------------------------------------------------------


def isolation(case: train.Case) -> None:
    report("| attention | 1 row | 2 rows | with a cache |")
    report("|---|---|---|---|")
    for attention in ATTENTIONS if case.gpus else ATTENTIONS[:2]:  # the others run on GPUs only
        child = subprocess.run(  # in a process of its own: some combinations crash
            [sys.executable, __file__, "--isolation", attention, str(case.gpus)],
            capture_output=True,
            text=True,
            env=environment(),
        )
        last = (child.stdout.splitlines() or [""])[-1]
        if child.returncode or not last.startswith("{"):
            errors = [line for line in child.stderr.splitlines() if re.match(r"\S*(Error|Exception)\b", line)]
            report(f"| {attention} | not here: {(errors or [f'exit {child.returncode}'])[0][:90]} | | |")
            continue
        result = json.loads(last)
        report(f"| {attention} | " + " | ".join(f"{result[key]:.0e}" for key in ("one", "two", "cache")) + " |")


def isolation_child(attention: str, on_gpu: bool) -> None:
    """Print the greatest difference between the logits of packed and of single examples, as a fraction of the largest
    logit."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=1000,
        hidden_size=256,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=512,
        initializer_range=0.05,
    )
    model = LlamaForCausalLM._from_config(
        config, attn_implementation=attention, dtype=torch.bfloat16 if on_gpu else torch.float32
    )
    model = model.to("cuda" if on_gpu else "cpu").eval()
    lengths = ((100, 156), (60, 196))  # of the two examples in each of two rows
    ids = torch.randint(1000, (2, 256), device=model.device)
    positions = torch.stack([torch.cat([torch.arange(size) for size in row]) for row in lengths]).to(model.device)

    def logits(rows: slice, start: int, end: int, *, cache: bool) -> torch.Tensor:
        tokens, places = ids[rows, start:end], positions[rows, start:end]
        return model(input_ids=tokens, position_ids=places, use_cache=cache).logits.float()

    one, other, both = slice(0, 1), slice(1, 2), slice(0, 2)
    with torch.no_grad():
        alone = torch.cat(
            [
                torch.cat([logits(row, *ends, cache=False) for ends in ((0, middle), (middle, 256))], dim=1)
                for row, (middle, _) in zip((one, other), lengths, strict=True)
            ]
        )
        largest = float(alone.abs().max())
        packed = {
            "one": torch.cat([logits(row, 0, 256, cache=False) for row in (one, other)]),
            "two": logits(both, 0, 256, cache=False),
            "cache": logits(both, 0, 256, cache=True),
        }
    print(json.dumps({name: float((found - alone).abs().max()) / largest for name, found in packed.items()}))


# --- resume ------------------------------------------------------------------------------------------------------


def resume(case: train.Case) -> None:
    """Compare a killed and resumed run with a whole one. Raises AssertionError if their losses differ."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        train.write_student(place / "student", case)
        train.write_rows(place / "rows", case)
        whole, killed = place / "whole", place / "killed"
        start_stage(place, whole, case).wait()
        child = start_stage(place, killed, case)
        while not (reached := find_step(killed)):
            assert child.poll() is None, "the stage ended before it could be killed"
            time.sleep(0.05)
        child.send_signal(signal.SIGKILL)
        child.wait()
        assert start_stage(place, killed, case).wait() == 0
        one, other = (
            [json.loads(line)["loss"] for line in (run / "out" / "metrics.jsonl").read_text().splitlines()]
            for run in (whole, killed)
        )
        difference = max(abs(a - b) for a, b in zip(one, other, strict=True))
        same = same_bytes(*(run / "out" / "model" / "model.safetensors" for run in (whole, killed)))
    weights = "equal bit for bit" if same else "not equal to the bit"
    report(f"killed with a checkpoint at step {reached} of {case.steps}: losses differ by {difference:.0e} at most,")
    report(f"the final weights are {weights}")
    assert difference < train.TOLERANCE[case.precision]


def find_step(run: Path) -> int:
    """Return the step of the newest complete checkpoint from step 3 on, otherwise 0."""
    found = [int(path.parent.name.rpartition("-")[2]) for path in run.glob("work/checkpoint-*/complete")]
    return max((step for step in found if step >= 3), default=0)


def same_bytes(*files: Path) -> bool:
    one, other = (path.open("rb") for path in files)
    with one, other:
        while chunk := one.read(1 << 24):
            if chunk != other.read(1 << 24):
                return False
        return not other.read(1)


def start_stage(place: Path, run: Path, case: train.Case) -> subprocess.Popen[bytes]:
    """Start a stage that saves as often as possible, in a process of its own."""
    return subprocess.Popen(
        [sys.executable, __file__, "--stage", str(place), str(run), json.dumps(dataclasses.asdict(case))],
        stdout=subprocess.DEVNULL,
        stderr=None if os.environ.get("VERBOSE") else subprocess.DEVNULL,
        env=environment(),
    )


def stage_child(place: Path, run: Path, given: str) -> None:
    import shutil

    train.without_tensorboard()
    from orcac.train.run import run as make

    shutil.rmtree(run / "out", ignore_errors=True)
    make(train.stage_job(place, train.Case(**json.loads(given)), run, save_every=0))


def main() -> None:
    if sys.argv[1:2] == ["--isolation"]:
        return isolation_child(sys.argv[2], sys.argv[3] != "0")
    if sys.argv[1:2] == ["--stage"]:
        return stage_child(Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"any of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--micro", type=int, help=f"rows per forward pass ({ONE_B.micro})")
    parser.add_argument("--batch", type=int, help=f"rows per step ({ONE_B.batch})")
    parser.add_argument("--steps", type=int, help=f"optimizer steps ({ONE_B.steps})")
    parser.add_argument("--length", type=int, dest="max_length", help=f"tokens per row ({ONE_B.max_length:,})")
    parser.add_argument("--layers", type=int, help=f"layers of the model ({ONE_B.layers})")
    parser.add_argument(
        "--recompute", action="store_true", default=None, help="recompute activations in the backward pass"
    )
    parser.add_argument("--repeats", type=int, default=1)
    given = vars(parser.parse_args())
    parts, repeats = given.pop("parts") or PARTS, given.pop("repeats")
    from orcac.model.offline import go_offline

    go_offline(threads=1)
    import torch

    gpu = torch.cuda.is_available()
    case = dataclasses.replace(ONE_B if gpu else SMALL, **{key: value for key, value in given.items() if value})
    where = torch.cuda.get_device_name() if gpu else "CPU; no GPU here: GPU figures not yet taken"
    report(f"torch {torch.__version__}; {where}")
    for part in parts:
        report(f"\n{part}\n")
        if part == "speed":
            speed(case, repeats)
        else:
            {"isolation": isolation, "resume": resume}[part](case)


if __name__ == "__main__":
    main()
