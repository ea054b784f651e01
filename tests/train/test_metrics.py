"""Tests of orcac/train/metrics.py."""

import json

import pytest
from tensorboardX.proto.event_pb2 import Event
from train_child import read_metrics

from orcac.train.metrics import MetricsWriter


def test_tensorboard_reads_the_same_figures(uninterrupted):
    data, events = (uninterrupted[0].out / "events.out.tfevents.0").read_bytes(), []
    while data:  # a length, its checksum, that many bytes, their checksum
        size = int.from_bytes(data[:8], "little")
        events.append(Event.FromString(data[12 : 12 + size]))
        data = data[16 + size :]
    assert events[0].file_version == "brain.Event:2"
    shown = [{value.tag: value.simple_value for value in event.summary.value} for event in events[1:]]
    for event, figures, line in zip(events[1:], shown, read_metrics(uninterrupted[0]), strict=True):
        assert {"step": event.step, **figures} == pytest.approx(line)


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
