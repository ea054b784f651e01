"""Tests of orcac/train/metrics.py."""

import json

import pytest
from train_child import read_events, read_metrics

from orcac.train.metrics import MetricsWriter


def test_tensorboard_reads_the_same_figures(uninterrupted):
    for (step, figures), line in zip(read_events(uninterrupted[0]), read_metrics(uninterrupted[0]), strict=True):
        assert {"step": step, **figures} == pytest.approx(line)


def test_lines_after_the_resumed_step_are_dropped(tmp_path):
    def write(steps, *, resumed):
        metrics = MetricsWriter(tmp_path, resumed=resumed)
        for step in steps:
            metrics.write(step=step, loss=1 / step)
        metrics.close()
        return [(tmp_path / name).read_bytes() for name in MetricsWriter.FILES]

    whole = write([1, 2, 3], resumed=0)
    assert write([3], resumed=2) == whole
    assert [json.loads(line)["step"] for line in whole[0].splitlines()] == [1, 2, 3]
