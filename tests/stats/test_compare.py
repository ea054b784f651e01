from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from orcac.errors import InputError
from orcac.stats.compare import (
    Average,
    Comparison,
    Layout,
    Scores,
    compare,
    compare_to_base,
    compare_to_base_by_task,
    spread,
)

# Three arms with three replicates each, 30 items.
BASE = "101000010110000011110110001001 101001000101000110011110001101 100001000101000111110100011001"
ARM = "101101010101100110111100111111 101001000111010111111111011111 101010000101111111101111111101"
THIRD = "100000011110000010101100011101 101101010101100011111111111101 101101001100001010100110011001"


def table(text: str) -> Scores:
    return np.array([[float(digit) for digit in row] for row in text.split()])


ARMS = {"base": table(BASE), "arm": table(ARM), "third": table(THIRD)}
MICRO = Layout(np.zeros(30, int), "micro")


@pytest.mark.parametrize(
    ("name", "between", "residual"),
    [("base", 0.0003703704, 0.1375479), ("arm", 0.0003703704, 0.1605364), ("third", 0.0211111111, 0.1620690)],
)
def test_spread_reference_values(name: str, between: float, residual: float) -> None:
    found = spread(ARMS[name], MICRO)
    assert (found.between, found.noise * 30, found.df) == pytest.approx((between, residual, 2), abs=5e-8)


@pytest.mark.parametrize(
    ("arm", "base", "others", "difference", "interval", "p", "deviations", "df"),
    [
        # the items' part alone sets the width: the replicates agree more than the items allow
        (ARM, BASE, (), 0.2444444, (0.1233956, 0.3654933), 0.0001291783, (0.06176074, 0.02241297, 0.01571348), 4),
        # another arm of the study shows more luck than the two
        (ARM, BASE, (THIRD,), 0.2444444, (0.0694200, 0.4194689), 0.01388577, (0.06176074, 0.02014563, 0.06968477), 6),
        # the two show more luck than the study
        (THIRD, BASE, (ARM,), 0.0888889, (-0.1265039, 0.3042817), 0.3570671, (0.06576659, 0.03027709, 0.08461970), 6),
        # an arm with one run takes its luck from the base
        (ARM[:30], BASE, (), 0.2222222, (0.0441044, 0.4003401), 0.01447408, (0.09087812, 0.04632056, 0.02222222), 2),
        # nothing is replicated: 10 items won, 3 lost
        (ARM[:30], BASE[:30], (), 0.2333333, (-0.0096072, 0.4762739), 0.09228516, None, 0),
        # an arm against itself
        (BASE, BASE, (), 0.0, (-0.0542554, 0.0542554), 1.0, (0.02768183, 0.0, 0.01571348), 4),
    ],
)
def test_comparison_reference_values(arm, base, others, difference, interval, p, deviations, df) -> None:
    found = compare(table(arm), table(base), [spread(table(other), MICRO) for other in others], layout=MICRO)
    assert found.difference == pytest.approx(difference, abs=5.1e-8)
    assert found.interval == pytest.approx(interval, abs=5.1e-8)
    assert found.p == pytest.approx(p, rel=5e-7)
    assert found.parts.df == df
    if deviations:
        variances = (found.parts.items, found.parts.shared, found.parts.training)
        assert np.sqrt(variances) == pytest.approx(deviations, abs=5.1e-9)


def test_nothing_replicated_is_decided_by_mcnemar_and_has_a_width() -> None:
    found = compare(table(ARM[:30]), table(BASE[:30]), layout=MICRO)
    assert (found.test, found.won, found.lost, found.is_replicated) == ("mcnemar", 10, 3, False)
    same = compare(np.ones((1, 250)), np.ones((1, 250)), layout=Layout(np.zeros(250, int), "micro"))
    assert same.interval == pytest.approx((-0.0111095, 0.0111095), abs=5e-8)
    assert same.p == 1.0


def test_graded_scores_without_replicates_are_decided_by_the_interval() -> None:
    found = compare(0.9 * ARMS["arm"][:1], 0.9 * ARMS["base"][:1], layout=MICRO)
    assert found.test == "items"
    assert found.p == pytest.approx(2 * stats.norm.sf(found.difference / math.sqrt(found.parts.items)))


TASKS = np.repeat(np.arange(6), [1, 3, 4, 5, 7, 10])


def test_measured_scores_have_the_interval_of_a_paired_t_test() -> None:
    arm, base = np.array([[0.31, 0.42, 0.53, 0.66]]), np.array([[0.30, 0.40, 0.52, 0.63]])
    found = compare_to_base({"base": base, "arm": arm}, "base", measured=True)[1]["arm"]
    by_scipy = stats.ttest_rel(arm[0], base[0])
    assert found.p == pytest.approx(by_scipy.pvalue)
    assert found.interval == pytest.approx(tuple(by_scipy.confidence_interval()))
    counted = compare_to_base({"base": base, "arm": arm}, "base")[1]["arm"]
    assert counted.interval.high - counted.interval.low > 10 * (found.interval.high - found.interval.low)


def layout(average: Average) -> Layout:
    return Layout(TASKS, average)


def by_hand(average: Average) -> tuple[float, float, float]:
    """Return the difference, the items' part and the noise of the base, item by item and task by task."""
    arm, base = ARMS["arm"], ARMS["base"]
    differences, residual = arm.mean(0) - base.mean(0), base - base.mean(0)
    items, noise, square, means = 0.0, 0.0, 0.0, []
    tasks = [np.flatnonzero(task == TASKS) for task in range(6)]
    for columns in tasks:
        means.append(differences[columns].mean())
        square += 1 / (36 * len(columns))
    if average == "clustered":
        items = float(np.var(means, ddof=1)) / 6
        of_tasks = np.array([[row[columns].mean() for columns in tasks] for row in base])
        rest = of_tasks - of_tasks.mean(0) - of_tasks.mean(1, keepdims=True) + of_tasks.mean()
        noise = float((rest**2).sum()) / (2 * 5) / 6
    else:
        row_means = np.array([np.mean([row[columns].mean() for columns in tasks]) for row in residual])
        for columns in tasks:
            if len(columns) == 1:
                items += float((differences[columns[0]] - np.mean(means)) ** 2) / 36
                noise += float(((residual[:, columns[0]] - row_means) ** 2).sum()) / 2 / 36
            else:
                items += float(np.var(differences[columns], ddof=1)) / len(columns) / 36
                centred = residual[:, columns] - residual[:, columns].mean(1, keepdims=True)
                noise += float((centred**2).sum()) / (2 * (len(columns) - 1)) / len(columns) / 36
    return float(np.mean(means)), items + 2 / 3 * square / 29, noise


@pytest.mark.parametrize("average", ["macro", "clustered"])
def test_means_over_tasks_follow_their_definition(average: Average) -> None:
    difference, items, noise = by_hand(average)
    found = compare(ARMS["arm"], ARMS["base"], layout=layout(average))
    assert (found.difference, found.parts.items) == pytest.approx((difference, items), rel=1e-12)
    assert spread(ARMS["base"], layout(average)).noise == pytest.approx(noise, rel=1e-12)
    assert found.parts.item_df == (5 if average == "clustered" else math.inf)


def test_one_task_makes_macro_the_same_as_micro() -> None:
    micro = compare(ARMS["arm"], ARMS["base"], layout=MICRO)
    macro = compare(ARMS["arm"], ARMS["base"], layout=Layout(np.zeros(30, int), "macro"))
    assert dataclasses.astuple(macro.parts) == pytest.approx(dataclasses.astuple(micro.parts))


def test_a_claim_about_tasks_like_these_needs_five_tasks() -> None:
    with pytest.raises(InputError, match="needs 5 tasks or more, and here are 4"):
        compare_to_base(ARMS, "base", tasks=["a", "b", "c", "d", "d"] * 6, average="clustered")


scores = st.integers(1, 4).flatmap(
    lambda runs: st.lists(
        st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=12, max_size=12), min_size=runs, max_size=runs
    ).map(np.array)
)
averages = st.sampled_from(["micro", "macro", "clustered"])
LABELS = np.repeat(np.arange(5), [1, 2, 2, 3, 4])


def assert_same(first: Comparison, second: Comparison) -> None:
    for one, other in zip(dataclasses.astuple(first), dataclasses.astuple(second), strict=True):
        assert one == (other if isinstance(one, str | None) else pytest.approx(other, abs=1e-9))


@settings(max_examples=60)
@given(scores, scores, scores, averages, st.randoms(use_true_random=False))
def test_the_order_of_items_and_replicates_means_nothing(arm, base, other, average, random) -> None:
    items = random.sample(range(12), 12)
    arranged, shuffled = Layout(LABELS, average), Layout(LABELS[items], average)

    def shuffle(of_arm: Scores) -> Scores:
        return of_arm[random.sample(range(len(of_arm)), len(of_arm))][:, items]

    assert_same(
        compare(arm, base, [spread(other, arranged)], layout=arranged),
        compare(shuffle(arm), shuffle(base), [spread(shuffle(other), shuffled)], layout=shuffled),
    )


@settings(max_examples=60)
@given(scores, scores, averages)
def test_an_interval_has_a_width_and_mirrors(arm, base, average) -> None:
    arranged = Layout(LABELS, average)
    found, mirrored = compare(arm, base, layout=arranged), compare(base, arm, layout=arranged)
    low, high = found.interval
    assert low < found.difference < high or abs(found.difference) == 1
    assert mirrored.interval == pytest.approx((-high, -low))
    assert mirrored.p == pytest.approx(found.p)
    if found.test != "mcnemar" and low > -1 and high < 1:
        assert (found.p < 0.05) == (low > 0 or high < 0)


@settings(max_examples=30)
@given(scores, scores, averages, st.floats(-0.4, 0.4))
def test_a_constant_moves_the_difference_and_no_variance(arm, base, average, constant) -> None:
    arranged = Layout(LABELS, average)
    found, moved = compare(arm, base, layout=arranged), compare(arm + constant, base, layout=arranged)
    assert moved.difference == pytest.approx(found.difference + constant)
    assert dataclasses.astuple(moved.parts) == pytest.approx(dataclasses.astuple(found.parts), abs=1e-12)


def test_failed_answers_take_their_item_out_of_the_pair() -> None:
    failed = {name: scores.copy() for name, scores in ARMS.items()}
    failed["arm"][1, 3] = failed["base"][0, 7] = failed["third"][2, 11] = np.nan
    runs, found = compare_to_base(failed, "base")
    assert (found["arm"].items, found["third"].items) == (28, 28)
    kept = [column for column in range(30) if column not in (3, 7)]
    others = [spread(np.delete(ARMS["third"], 11, axis=1), Layout(np.zeros(29, int), "micro"))]
    by_hand = compare(ARMS["arm"][:, kept], ARMS["base"][:, kept], others, layout=Layout(np.zeros(28, int), "micro"))
    assert found["arm"] == by_hand
    assert runs["arm"].means == pytest.approx(np.delete(ARMS["arm"], 3, axis=1).mean(1))


def test_an_arm_without_common_items_is_left_out() -> None:
    runs, found = compare_to_base({"base": ARMS["base"], "arm": np.full((3, 30), np.nan)}, "base")
    assert (found, runs["arm"].means, runs["arm"].spread.df) == ({}, (), 0)


def test_a_replicate_that_repeats_another_does_not_count() -> None:
    arm = ARMS["arm"]
    runs, found = compare_to_base({"base": ARMS["base"], "arm": arm[[0, 1, 0, 0]]}, "base")
    assert (found["arm"].runs, found["arm"].repeated, runs["arm"].repeated) == ((2, 3), (2, 0), 2)
    _, counted = compare_to_base({"base": ARMS["base"], "arm": arm[:2]}, "base")
    assert found["arm"].interval == counted["arm"].interval


def test_replicates_count_on_each_task_as_on_the_benchmark() -> None:
    tasks = [f"task {label}" for label in TASKS]
    of_tasks = compare_to_base_by_task(ARMS, "base", tasks=tasks)
    assert "task 0" not in {task for task, found in of_tasks.items() if found}  # one item
    last = {name: scores[:, TASKS == 5] for name, scores in ARMS.items()}
    assert of_tasks["task 5"] == compare_to_base(last, "base")[1]
    assert of_tasks["task 1"]["arm"].runs == (3, 3)  # on three items, replicates agree by chance


def test_unequal_spreads_are_found() -> None:
    rng = np.random.default_rng(0)

    def arm(luck: float) -> Scores:
        return (rng.random((5, 400)) < 0.5 + luck * np.array([[-2], [-1], [0], [1], [2]])).astype(float)

    calm = {name: arm(0.0) for name in ("base", "b", "c")}
    own = compare_to_base({**calm, "wild": arm(0.15)}, "base")[1]
    assert own["wild"].unequal < 0.01 < own["b"].unequal
    of_arm, of_base, of_rest = (spread(scores, Layout(np.zeros(400, int), "micro")).between for scores in calm.values())
    two_sided = 2 * min(stats.f.sf(of_base / of_arm, 4, 4), stats.f.sf(of_arm / of_base, 4, 4))
    expected = min(two_sided, stats.f.sf((of_arm + of_base) / 2 / of_rest, 8, 4))
    assert compare_to_base(calm, "base")[1]["b"].unequal == pytest.approx(expected)
    equal_means = np.roll(calm["b"][:1], 1, axis=1)
    pair = compare_to_base({"base": calm["base"][:2], "b": np.concatenate([calm["b"][:1], equal_means])}, "base")[1]
    assert pair["b"].unequal > 0.01
    alone = {name: scores[:1] for name, scores in calm.items()}
    assert compare_to_base(alone, "base")[1]["b"].unequal is None


def test_two_models_that_are_not_trained_have_no_luck_whatever_is_trained_beside_them() -> None:
    arms = {"base": table(BASE)[:1], "other": table(ARM)[:1], "trained": table(THIRD)}
    _, found = compare_to_base(arms, "base", untrained={"base", "other"})
    _, alone = compare_to_base({name: arms[name] for name in ("base", "other")}, "base", untrained={"base", "other"})
    assert found["other"] == alone["other"]
    assert (found["other"].test, found["other"].is_replicated) == ("mcnemar", False)
    trained = found["trained"]  # against a model as it is, which counts as an arm with one run
    assert (trained.runs, trained.parts.df, trained.is_borrowed) == ((3, 1), 2, True)
    assert dataclasses.replace(trained, untrained=(False, False)) == compare_to_base(arms, "base")[1]["trained"]
