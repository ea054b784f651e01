"""Tests of orcac/model/rendering.py: what a malicious chat template may cost."""

import json
import os
import resource
import threading

import psutil
import pytest
import tiny

from orcac.errors import InputError
from orcac.model import rendering
from orcac.model.chat_format import ChatFormat, load_tokenizer
from orcac.model.rendering import Rejected, Session, TooCostly

MESSAGES = [{"role": "user", "content": "Why?"}]
LOOPS = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
DOUBLED = "{% set n = namespace(t='aa') %}{% for i in range(60) %}{% set n.t = n.t + n.t %}{% endfor %}{{ n.t }}"
ATTACKS = {  # name -> template, words of the error
    "nested loops": (LOOPS, "takes more than"),
    "a power while it is compiled": ("{{ 9 ** (9 ** 9) }}", "takes more than"),
    "a power": ("{% set n = messages | length + 8 %}{{ n ** (n ** n) }}", "takes more than"),
    "a text repeated while it is compiled": ("{{ 'a' * 10 ** 10 }}", "takes more than"),
    "a text repeated while it is rendered": ("{{ 'a' * (messages | length * 10 ** 10) }}", "takes more than"),
    "a list": ("{% set a = [messages] * (messages | length * 10 ** 10) %}", "takes more than"),
    "a text doubled sixty times": (DOUBLED, "takes more than"),
    "a wide field": ("{{ 'a'.center(messages | length * 10 ** 10) }}", "takes more than"),
    "a wide format": ("{{ '{:>9999999999}'.format(1) }}", "takes more than"),
    "a huge range": ("{% for a in range(10 ** 9) %}{% endfor %}", "cannot be rendered .OverflowError: Range too big"),
    "a long output": ("{% for a in range(99999) %}{{ 'aaaaaaaaaaaa' }}{% endfor %}", "writes 1,199,988 characters"),
    "a macro that calls itself": ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "RecursionError"),
    "deep brackets": ("{{ " + "(" * 50_000 + "1" + ")" * 50_000 + " }}", "chat template"),
    "a division by nothing": ("{{ 1 / 0 }}", "ZeroDivisionError"),
    "a long template": ("a" * 1_000_001, "has 1,000,001 characters"),
}  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_ends_in_an_error_and_not_in_this_process(name, monkeypatch):
    monkeypatch.setattr(rendering, "CPU_S", 1)
    template, words = ATTACKS[name]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with pytest.raises(InputError, match=words) as caught, Session(template, {}, has_marks=False) as session:
        session.render(MESSAGES, add_generation_prompt=True)
    assert caught.value.fix and len(caught.value.message) < 500
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 4


def test_a_session_renders_many_conversations_and_an_error_ends_none_of_them():
    template = "{% if messages | length > 1 %}{{ raise_exception('one at a time') }}{% endif %}"
    template += "{{ bos }}{% generation %}{{ messages[0].content }}{% endgeneration %}{{ enable_thinking }}"
    before = {child.pid for child in psutil.Process().children()}
    with Session(template, {"bos": "<s>"}, has_marks=True) as session:
        for _ in range(3):
            assert session.render(MESSAGES, enable_thinking=False) == ("<s>Why?False", [(3, 7)])
            with pytest.raises(Rejected, match="one at a time"):
                session.render(MESSAGES * 2)
    assert {child.pid for child in psutil.Process().children()} <= before


def test_a_session_that_exceeded_a_limit_refuses_what_follows(monkeypatch):
    monkeypatch.setattr(rendering, "CPU_S", 1)
    with Session(LOOPS, {}, has_marks=False) as session:
        for _ in range(2):
            with pytest.raises(TooCostly):
                session.render(MESSAGES)


def test_a_child_holds_no_file_of_its_parent():
    asked, asks = os.pipe()
    with Session("{{ messages[0].content }}", {}, has_marks=False) as session:
        os.close(asks)
        reader = threading.Thread(target=os.read, args=(asked, 1), daemon=True)
        reader.start()
        reader.join(60)
        assert not reader.is_alive(), "the pipe has another writer"
        assert session.render(MESSAGES).text == "Why?"
    os.close(asked)


def test_a_student_with_a_malicious_template_is_refused_or_gets_ours(tmp_path, monkeypatch):
    from orcac.student.pretrained import prepare_tokenizer
    from orcac.student.recipe import Pretrained

    monkeypatch.setattr(rendering, "CPU_S", 1)
    examples = tiny.write_examples(tmp_path / "kept", [tiny.response(number) for number in range(50)])
    model = tiny.make_student(tmp_path / "student", examples) / "model"
    (model / "chat_template.jinja").write_text(LOOPS)
    tokenizer = load_tokenizer(model)
    for for_training in (True, False):  # a student, a teacher
        with pytest.raises(TooCostly):
            ChatFormat(tokenizer, for_training=for_training)
    with pytest.raises(TooCostly):
        prepare_tokenizer(load_tokenizer(model), Pretrained(keeps_template=True))
    assert "takes more than 1 seconds" in str(prepare_tokenizer(tokenizer, Pretrained()))
    assert json.dumps(tokenizer.chat_template) and "range" not in tokenizer.chat_template
