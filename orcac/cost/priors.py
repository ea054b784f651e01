"""The assumptions that are used until a measurement replaces them, each with its range and its reason.

docs/cost-model.md lists them. Lengths of texts were measured on 14,000 public queries, answers and benchmark items:
FLAN CoT (5,000), T0 (2,400), Natural Instructions (3,700), AGIEval (2,546), OpenOrca (284), and 4,400 answers of GPT-4
and ChatGPT to other questions; with the tokenizers of GPT-3.5/4 (cl100k) and of LLaMA.
"""

from __future__ import annotations

from typing import NamedTuple

from orcac.cost.figures import Range, between


class Prior(NamedTuple):
    """An assumed value of one unknown. All figures that depend on the same unknown are wrong together."""

    name: str
    low: float
    mid: float
    high: float
    why: str

    @property
    def range(self) -> Range:
        """Return the value with its uncertainty."""
        return between(self.low, self.mid, self.high, self.name)

    @property
    def basis(self) -> str:
        """Return the line that explains a figure which depends on this prior."""
        return f"{self.name} {self.mid:g} ({self.low:g} to {self.high:g}): prior, {self.why}"


QUERY = Prior("tokens per query", 100, 180, 320, "OpenOrca's 284 questions have 178")
ANSWER = Prior(
    "tokens per answer", 20, 200, 600,
    "recorded GPT-4 and ChatGPT answers have 132 to 170, the paper's 290, bare answers few",
)  # fmt: skip
CHOICES = Prior("tokens of an item's choices", 8, 50, 200, "AGIEval's choices are sentences, BIG-Bench Hard's letters")
SOLVED = Prior("tokens per answer of the embedded teacher", 10, 50, 150, "words and marks; 36 on boolean expressions")
REFERENCE = Prior("tokens per reference answer", 5, 20, 80, "FLAN's targets are a label or a sentence")
ANSWER_SHARE = Prior(
    "share of a response that is its answer", 0.05, 0.2, 1.0, "a reasoning model's trace is several times its answer"
)
CHARACTERS = Prior("characters per teacher's token", 4.1, 4.5, 4.9, "GPT's tokenizer on recorded queries and answers")
STUDENT_RATIO = Prior(
    "student's tokens per teacher's token", 1.12, 1.16, 1.21, "LLaMA's tokenizer against GPT's on recorded texts"
)
OWN_TOKENIZER = Prior(
    "tokens of a new tokenizer", 0.7, 1.0, 1.8, "against one of LLaMA's: fewer entries, but trained on these texts"
)
KEPT = Prior("share of answers that filters keep", 0.92, 0.98, 1.0, "cut-off, empty and repeated answers are rejected")
AGREEING = Prior("share of answers that agree with a reference", 0.6, 0.8, 0.95, "a teacher is right on most questions")
CONTRADICTING = Prior("share of answers that contradict a reference", 0.05, 0.2, 0.4, "the others agree")
READ = Prior("share of answers that can be compared", 0.6, 0.9, 1.0, "some are not read, or have no reference")
MAJORITY = Prior(
    "share of answers with the majority's final answer", 0.5, 0.75, 0.95, "the others share one answer; ties have none"
)
LATENCY = Prior("seconds to an answer's first token", 0.3, 1.0, 3.0, "a served model under load")
WRITING = Prior("tokens per second of one answer", 20, 50, 100, "a served model under load")
BATCH_HOURS = Prior("hours of a batch", 1, 12, 24, "the Batch API promises a day")
SOLVING = Prior("answers per second of the embedded teacher", 150, 400, 1000, "measured on two cores")
MFU = Prior("MFU", 0.25, 0.36, 0.5, "the paper's own: 5 M examples, 4 epochs, 2.7 a row, in 160 h on 20 A100")
OFFLOADED = Prior(
    "seconds of an offloaded step per billion parameters", 0.2, 0.5, 1.5,
    "AdamW moves 28 bytes a parameter in a machine's memory, and the bus 6",
)  # fmt: skip
QUANTIZED = Prior(
    "time of a step with matrices of 4 bits, relative to one without", 1.0, 1.15, 1.5,
    "1.0 to 1.4 on a CPU, rows of 128 to 512 tokens; not measured on a GPU",
)  # fmt: skip
ANSWERING_MFU = Prior("MFU of answering", 0.015, 0.05, 0.15, "batched generation is bound by memory")
CPU_TRAINING = Prior("GFLOP/s per thread, training", 20, 50, 100, "48 to 61 with `size: tiny`")
CPU_ANSWERING = Prior("GFLOP/s per thread, answering", 1.5, 5, 20, "token by token; small matrices")
SHAPE = Prior("parameters of the student", 1e9, 7e9, 3e10, "its files are missing and `student.like` is not set")
QUERIES = Prior("queries in a source", 1e3, 1e4, 1e6, "its files cannot be counted and `expect.queries` is not set")
DISTINCT = Prior("share of rows that are distinct queries", 0.8, 1.0, 1.0, "equal queries are drawn once")
TASKS = Prior(
    "share of rows that `tasks` and `per_task` leave", 0.05, 0.5, 1.0, "the files are not read to find these rows"
)
JUDGING = Prior("tokens of a judge's instructions", 150, 200, 300, "the wording of common judge prompts")
VERDICT = Prior("tokens of a verdict", 80, 200, 400, "two marks and a short explanation")
REVIEWED = Prior("tokens per review of the embedded judge", 12, 15, 24, "a sentence and its scores")
HANDLING = Prior("rows per second, without a model", 3e3, 1e4, 3e4, "sampling, filtering and tokenizing on one thread")

RECOMPUTED = 4 / 3  # arithmetic of a step that runs its forward pass twice, relative to one that does not
EXPECTED = 1.25  # a spec's `expect` is assumed to be right within this factor
ELSEWHERE = 1.15  # a mean that was measured on other prompts is assumed to be right within this factor
FRAME = 4  # tokens around each message of a request; 3 more around the whole (ChatML)
TEMPLATE = 12  # tokens that the chat template of a pretrained student adds to an example beyond those
TEXT_BYTES = 4.5 / 2.4  # bytes per token of text in Parquet; zstd compresses OpenOrca's rows by 2.4
START = 1.0  # seconds that a node takes to start
START_MODEL = 6.0  # seconds that a node takes to start if it imports torch
RATING_BYTES = 22  # of an answer's rating, if its question has no other
RECORD_BYTES = 700  # of an answer's record in the ledger, its texts left out
