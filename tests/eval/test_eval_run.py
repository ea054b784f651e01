"""Tests of orcac/eval/recipe.py and orcac/eval/run.py: the answers, those of VERSION 1, and runs after a kill."""

import dataclasses
import random
import re
from pathlib import Path
from types import SimpleNamespace

import jobs
import pytest
from jobs import make_shard_job

from orcac import rows
from orcac.errors import InputError
from orcac.eval.recipe import EvalExecution, EvalRecipe, EvalSummary
from orcac.eval.run import run, run_shard
from orcac.job import Job
from orcac.summary import ShardSummary


class Killed(BaseException):
    pass


class StandIn:
    """A model that answers with the end of the query (and the seed, if sampling), and dies at batch `dies_at`."""

    def __init__(self, dies_at: int | None = None) -> None:
        self.asked: list[list[tuple[str, str]]] = []
        self.dies_at = dies_at

    def sort(self, prompts, *, max_new_tokens, batch_size):
        return sorted(range(len(prompts)), key=lambda index: -len(prompts[index][1]))

    def answer(self, prompts, *, batch_size, temperature, top_p, max_new_tokens, seed, stop, reasoning):
        suffix = f" seed {seed}" if temperature else ""
        for batch in rows.batched(enumerate(prompts), batch_size):
            if len(self.asked) == self.dies_at:
                raise Killed
            self.asked.append(batch)
            yield [
                (
                    number,
                    SimpleNamespace(
                        text=query.split(":")[1] + suffix,
                        finish_reason="length" if query.endswith("False") else "stop",
                        input_tokens=1,
                        output_tokens=2,
                        opened=False,
                    ),
                )
                for number, (_, query) in reversed(batch)  # they end in another order
            ]


def item(number: int, task: str, says: str, reference: str, options: list[str]) -> rows.Prompt:
    query = f"{'x' * (number % 4)}{number}:{says}"
    return rows.Prompt(
        id=rows.prompt_id("b", task, query, ""),
        source="b",
        task=task,
        query=query,
        system_id=1,
        system="",
        reference=reference,
        options=options,
    )


ITEMS = [
    item(0, "truth", "The answer is True.", "True", ["True", "False"]),
    item(1, "truth", "The answer is False.", "True", ["True", "False"]),
    item(2, "truth", "True False", "True", ["True", "False"]),
    item(3, "letters", "So (B)", "(B)", ["(A)", "(B)", "(C)", "(D)"]),
    item(4, "count", "The answer is 1,000.", "1000", []),
]


def make_job(tmp_path: Path, items=ITEMS, name: str = "job", batch_size: int = 2, **fields) -> Job:
    root = tmp_path / name
    for folder in ("items", "model"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    rows.write(root / "items" / "prompts.parquet", rows.Prompt, items)
    inputs = {"model": [root / "model"], "items": [root / "items"]}
    recipe = EvalRecipe(system_id=5, system="Be brief.", **fields)
    return jobs.make_job(root, recipe, EvalExecution(batch_size=batch_size), inputs=inputs)


def refuse(*_: object, **__: object) -> None:
    raise AssertionError("a model was loaded")


def evaluate(job: Job, model: StandIn) -> EvalSummary:
    return run(job, load_model=lambda folder, **_: model)


def test_every_answer_is_written_with_its_item_and_its_tokens(tmp_path) -> None:
    job = make_job(tmp_path)
    summary = evaluate(job, StandIn())
    assert summary == EvalSummary(n=5, cut=1, input_tokens=5, output_tokens=10)
    answers = list(rows.read(job.out / "answers.parquet", rows.Answer))
    assert [answer.id for answer in answers] == [item.id for item in ITEMS]
    assert [answer.response for answer in answers] == [item.query.split(":")[1] for item in ITEMS]
    assert [answer.finish_reason for answer in answers] == ["stop", "stop", "length", "stop", "stop"]
    assert {(answer.system_id, answer.system) for answer in answers} == {(5, "Be brief.")}
    assert [path.name for path in job.out.iterdir()] == ["answers.parquet"]


def test_the_answers_of_version_1_are_taken_over_and_no_model_is_loaded(tmp_path, capsys) -> None:
    @dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
    class Version1Answer(rows.Prompt):
        response: str
        finish_reason: str
        parsed: str
        correct: str

    written = [
        rows.widen(item, Version1Answer, response=f"said {item.query}", finish_reason="stop", parsed="", correct="")
        for item in ITEMS
    ]
    earlier = tmp_path / "earlier"
    earlier.mkdir()
    rows.write(earlier / "answers.parquet", Version1Answer, written)
    job = dataclasses.replace(make_job(tmp_path), earlier={"eval/0123": earlier})

    assert run(job, load_model=refuse) == EvalSummary(n=5, earlier="eval/0123")
    assert capsys.readouterr().err == "test  takes its 5 answers from eval/0123\n"
    answers = list(rows.read(job.out / "answers.parquet", rows.Answer))
    assert [answer.response for answer in answers] == [f"said {item.query}" for item in ITEMS]


@pytest.mark.parametrize("temperature", [0.0, 0.7])
@pytest.mark.parametrize("torn", [b"", b'{"place": 1, "items": [0, '])
def test_a_killed_run_goes_on_and_leaves_the_same_bytes(tmp_path, temperature, torn) -> None:
    whole = make_job(tmp_path, name="whole", temperature=temperature)
    evaluate(whole, StandIn())

    first = make_job(tmp_path, name="resumed", temperature=temperature)
    with pytest.raises(Killed):
        evaluate(first, StandIn(dies_at=1))
    with (first.work / "answers.jsonl").open("ab") as log:
        log.write(torn)
    model = StandIn()
    resumed = make_job(tmp_path, name="resumed", temperature=temperature)
    evaluate(resumed, model)

    assert len(model.asked) == 2  # of 3 batches
    assert (resumed.out / "answers.parquet").read_bytes() == (whole.out / "answers.parquet").read_bytes()


def test_a_flipped_bit_in_the_log_never_becomes_an_answer(tmp_path, capsys) -> None:
    whole = make_job(tmp_path, name="whole")
    evaluate(whole, StandIn())
    log, expected = whole.work / "answers.jsonl", (whole.out / "answers.parquet").read_bytes()
    content, draw = log.read_bytes(), random.Random(19)
    places = {*(draw.randrange(len(content)) for _ in range(60)), *range(len(content) - 30, len(content))}
    for at in places:
        log.write_bytes(content[:at] + bytes([content[at] ^ 1 << draw.randrange(8)]) + content[at + 1 :])
        evaluate(whole, StandIn())
        assert (whole.out / "answers.parquet").read_bytes() == expected, at
    assert "answers.jsonl:3: the line is damaged: its items are answered again" in capsys.readouterr().err


def test_a_log_of_an_older_orcac_is_read(tmp_path) -> None:
    whole = make_job(tmp_path, name="whole")
    evaluate(whole, StandIn())
    log = whole.work / "answers.jsonl"
    log.write_bytes(re.sub(rb', "crc32": \d+', b"", log.read_bytes()))
    assert run(whole, load_model=refuse).n == 5


def test_a_run_resumed_at_another_batch_size_keeps_its_answers(tmp_path) -> None:
    with pytest.raises(Killed):
        evaluate(make_job(tmp_path), StandIn(dies_at=1))
    model = StandIn()
    evaluate(make_job(tmp_path, batch_size=3), model)
    assert [len(batch) for batch in model.asked] == [3]


def test_a_benchmark_without_items_is_refused(tmp_path) -> None:
    with pytest.raises(InputError):
        evaluate(make_job(tmp_path, items=[]), StandIn())


class Comparer:
    """A model that finds a choice the likelier, the shorter it is; a query of "long" does not fit."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def score_choices(self, questions):
        self.asked += [query for _, query, _ in questions]
        return [
            SimpleNamespace(
                log_likelihoods=[] if query == "long" else [-float(len(choice) ** 0.5) for choice in choices],
                input_tokens=7,
            )
            for _, query, choices in questions
        ]


def choice_item(query: str, choices: list[str]) -> rows.BenchmarkItem:
    options = [f"({letter})" for letter in "ABCD"[: len(choices)]]
    prompt = dataclasses.replace(item(0, "choices", "x", options[0], options), query=query, id=query)
    return rows.widen(prompt, rows.BenchmarkItem, choices=choices, right=[0])


@pytest.mark.parametrize(
    ("method", "expected"), [("likelihood", ["(B)", ""]), ("likelihood-per-character", ["(A)", ""])]
)
def test_the_answer_is_the_likeliest_choice_and_of_equal_ones_the_first(tmp_path, method, expected) -> None:
    job = make_job(tmp_path, items=[], method=method)
    items = [choice_item("Why?", ["four", "two", "one"]), choice_item("long", ["a", "b"])]
    rows.write(job.input("items") / "prompts.parquet", rows.BenchmarkItem, items)
    summary = run(job, load_model=lambda folder, **_: Comparer())
    assert summary == EvalSummary(n=2, cut=1, input_tokens=14)
    answers = list(rows.read(job.out / "answers.parquet", rows.Answer))
    assert [answer.response for answer in answers] == expected
    assert [answer.finish_reason for answer in answers] == ["stop", "length"]
    assert answers[0].log_likelihoods == [-2.0, -(3**0.5), -(3**0.5)]


class Reader:
    """A model that gives each character of a text the probability 1/e; the text "long" does not fit."""

    def score_texts(self, answered):
        return [
            SimpleNamespace(
                log_likelihoods=[] if text == "long" else [-float(len(text))], input_tokens=7, output_tokens=2
            )
            for _, _, text in answered
        ]


def test_the_loss_is_that_of_the_references_or_of_a_teachers_texts(tmp_path, capsys) -> None:
    job = make_job(tmp_path, method="loss")
    summary = run(job, load_model=lambda folder, **_: Reader())
    answers = list(rows.read(job.out / "answers.parquet", rows.Answer))
    assert [answer.response for answer in answers] == [item.reference for item in ITEMS]
    assert all(answer.log_likelihoods == [-len(answer.response)] for answer in answers)
    assert summary == EvalSummary(n=5, input_tokens=35, output_tokens=10)

    other = make_job(tmp_path, name="other", method="loss")
    texts = ["<think>Hm.</think>So.", "long", "", "Yes.", None]
    responses = [
        rows.widen(item, rows.Response, teacher="t", response=text, finish_reason="stop")
        for item, text in zip(ITEMS, texts, strict=True)
        if text is not None
    ]
    (tmp_path / "texts").mkdir()
    rows.write(tmp_path / "texts" / "responses.parquet", rows.Response, responses)
    other.inputs["texts"] = [tmp_path / "texts"]
    assert run(other, load_model=lambda folder, **_: Reader()).cut == 1
    answers = list(rows.read(other.out / "answers.parquet", rows.Answer))
    assert [answer.response for answer in answers] == ["So.", "long", "", "Yes.", ""]
    assert [answer.log_likelihoods for answer in answers] == [[-3.0], [], [], [-4.0], []]
    assert "the teacher has no answer to 2 of 5 items: they are left out" in capsys.readouterr().err


def test_answers_in_words_have_no_column_of_likelihoods(tmp_path) -> None:
    job = make_job(tmp_path)
    evaluate(job, StandIn())
    assert not rows.has_column(job.out / "answers.parquet", "log_likelihoods")


def test_several_answers_to_an_item_follow_one_another_and_survive_a_kill(tmp_path) -> None:
    settings = {"temperature": 0.7, "samples": 3, "seed": 5}
    whole = make_job(tmp_path, name="whole", **settings)
    assert evaluate(whole, StandIn()).n == len(ITEMS)
    answers = list(rows.read(whole.out / "answers.parquet", rows.Answer))
    assert [(answer.id, answer.sample) for answer in answers] == [(one.id, k) for one in ITEMS for k in range(3)]
    assert all(answer.response.endswith(f" seed {5 + answer.sample}") for answer in answers)

    with pytest.raises(Killed):
        evaluate(make_job(tmp_path, name="resumed", **settings), StandIn(dies_at=4))
    model = StandIn()
    resumed = make_job(tmp_path, name="resumed", **settings)
    evaluate(resumed, model)
    assert len(model.asked) == 9 - 4
    assert (resumed.out / "answers.parquet").read_bytes() == (whole.out / "answers.parquet").read_bytes()

    single = make_job(tmp_path, name="single", temperature=0.7, seed=5)
    evaluate(single, StandIn())
    first = [answer.response for answer in answers if answer.sample == 0]
    assert [answer.response for answer in rows.read(single.out / "answers.parquet", rows.Answer)] == first
    assert not rows.has_column(single.out / "answers.parquet", "sample")


def test_shards_leave_the_answers_of_a_whole_run(tmp_path) -> None:
    """One of two shards is killed; three others share what it has left."""
    settings = {"samples": 3, "temperature": 0.7}
    items = [item(number, "count", f"It is {number}.", "1", []) for number in range(11)]
    whole, node = (make_job(tmp_path, items, name=name, **settings) for name in ("whole", "node"))
    assert evaluate(whole, StandIn()).shards is None
    node = dataclasses.replace(node, execution=EvalExecution(batch_size=2, shards=3))
    with pytest.raises(Killed):
        run_shard(make_shard_job(node, 0), 0, 2, load_model=lambda folder, **_: StandIn(dies_at=2))
    with (node.work / "answers-1-of-2.jsonl").open("ab") as log:
        log.write(b'{"items": [3], "rep')
    model = StandIn()
    for index, count in [(2, 9), (0, 12), (1, 12)]:
        summary = run_shard(make_shard_job(node, index), index, 3, load_model=lambda folder, **_: model)
        assert summary == ShardSummary(prompts=count, answered=count)
    assert sum(map(len, model.asked)) == 33 - 4, "an answer was asked for twice"
    assert run(node, load_model=refuse).shards == 3
    assert (node.out / "answers.parquet").read_bytes() == (whole.out / "answers.parquet").read_bytes()


def test_a_run_answers_what_its_shards_have_left(tmp_path) -> None:
    model = Comparer()
    items = [choice_item(f"{number}: Why?", ["four", "two", "one"][number % 3 :]) for number in range(7)]
    whole, node = (make_job(tmp_path, items, name=name, method="likelihood") for name in ("whole", "node"))
    for job in (whole, node):
        rows.write(job.input("items") / "prompts.parquet", rows.BenchmarkItem, items)
    run(whole, load_model=lambda folder, **_: model)
    run_shard(make_shard_job(node, 1), 1, 3, load_model=lambda folder, **_: model)
    run(node, load_model=lambda folder, **_: model)
    assert sorted(model.asked) == sorted([one.query for one in items] * 2)
    assert (node.out / "answers.parquet").read_bytes() == (whole.out / "answers.parquet").read_bytes()


def test_shards_have_nothing_to_do_if_version_1_has_the_answers(tmp_path) -> None:
    job = dataclasses.replace(make_job(tmp_path), earlier={"eval/0123": tmp_path})
    assert run_shard(job, 0, 2, load_model=refuse) == ShardSummary(prompts=0, answered=0)


def test_reasoning_is_a_column_of_its_own(tmp_path) -> None:
    job = make_job(tmp_path, items=[item(0, "truth", "<think>So.</think> True", "True", ["True", "False"])])
    evaluate(job, StandIn())
    (answer,) = rows.read(job.out / "answers.parquet", rows.Answer)
    assert (answer.reasoning, answer.response) == ("So.", "True")
