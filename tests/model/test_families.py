"""Proofs, family by family, that a student is trained in the format in which any server asks it.

The server is transformers' own `apply_chat_template` on the folder of the finished student.
"""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import families
import pytest
import tiny
from families import FAMILIES, OTHERS, Family

from orcac.digest import file_digest
from orcac.errors import InputError
from orcac.model.chat_format import ChatFormat
from orcac.recipe import FileRef
from orcac.student.recipe import Pretrained, StudentExecution, StudentRecipe, StudentSummary
from orcac.student.run import run
from orcac.tokenize.encode import load_format


def make_student(
    root: Path, source: Path, *, has_system: bool = True, reasoning: Any = "none", **fields: Any
) -> tuple[Path, StudentSummary]:
    """Run the student node of the model folder `source`; return the student's folder and the summary."""
    paths = sorted(path for path in source.rglob("*") if path.is_file())
    refs = tuple(FileRef(name=path.relative_to(source).as_posix(), sha256=file_digest(path)) for path in paths)
    files = {ref.sha256: str(path) for ref, path in zip(refs, paths, strict=True)}
    recipe = StudentRecipe(seed=0, pretrained=Pretrained(files=refs, **fields))
    execution = StudentExecution(files=files, has_system=has_system, reasoning=reasoning)
    job = tiny.job(root, recipe, {}, execution)
    return job.out / "model", run(job)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_row_and_a_prompt_have_the_ids_that_a_server_sends(tmp_path: Path, family: Family) -> None:
    from transformers import AutoTokenizer

    source = families.write_model(family, tmp_path / "source")
    folder, summary = make_student(tmp_path / "job", source, system_role=family.system_role)
    assert summary.replaced is None
    server = AutoTokenizer.from_pretrained(folder)
    chat, asking = load_format(folder), ChatFormat(server, for_training=False)
    end = server.convert_tokens_to_ids(family.end)
    generation = json.loads((folder / "generation_config.json").read_text())["eos_token_id"]
    assert end in (generation if isinstance(generation, list) else [generation])
    for system, question, answer, reasoning in [row for text in families.TEXTS for row in (text, ("", *text[1:]))]:
        opening = [{"role": "system", "content": system}] * bool(system) + [{"role": "user", "content": question}]
        sent = server.apply_chat_template(opening, add_generation_prompt=True, return_dict=True)["input_ids"]
        assert asking.encode_prompts([(system, question)]) == [sent]
        assert server.decode(sent).endswith(family.ending)
        begin = server.bos_token_id
        assert sent.count(begin) == (begin is not None and family.name != "Phi-3")
        plain, thought = chat.encode_examples(
            [(system, question, answer), (system, question, answer.strip("\n"), reasoning)]
        )
        for example, text, shows, more in [
            (plain, family.learnt, family.shows, {"content": answer}),
            (
                thought,
                family.reasoned,
                family.shows_reasoning,
                {"content": answer.strip("\n"), "reasoning_content": reasoning},
            ),
        ]:
            assert example.input_ids[: example.prompt_tokens] == sent
            learnt = example.input_ids[example.prompt_tokens :]
            assert learnt[-1] == end
            if question == "What is 12 and one?":  # no white space around its texts
                expected = text.replace("A{end}", "A").replace("R", "\0").replace("A", answer).replace("\0", reasoning)
                expected = expected.replace("{end}", family.end)
                assert server.decode(learnt).removesuffix(family.end) == expected.removesuffix(family.end)
            if shows and not answer.startswith("\n"):  # else the answer would merge with the end of the prompt
                whole = server.apply_chat_template([*opening, {"role": "assistant", **more}], return_dict=True)
                assert whole["input_ids"][: len(example.input_ids)] == example.input_ids
                rest = server.decode(whole["input_ids"][len(example.input_ids) :], skip_special_tokens=True)
                assert not rest.strip()


@pytest.mark.parametrize("family", OTHERS, ids=lambda family: family.name)
def test_a_template_that_cannot_be_trained_on_is_replaced_and_the_summary_says_why(
    tmp_path: Path, family: Family
) -> None:
    source = families.write_model(family, tmp_path / "source")
    folder, summary = make_student(tmp_path / "job", source)
    assert summary.replaced
    (example,) = load_format(folder).encode_examples([("Be brief.", "Why?", "So.")])
    assert example.prompt_tokens < len(example.input_ids)
    with pytest.raises(InputError):
        make_student(tmp_path / "own", source, keeps_template=True)


def test_the_page_has_the_table_of_today() -> None:
    page = families.PAGE.read_text(encoding="utf-8")
    assert page == families.replace_table(page), "python tests/model/families.py"


# --- requirements ----------------------------------------------------------------------------------------------------


def find(name: str) -> Family:
    return next(family for family in FAMILIES if family.name.startswith(name))


def test_a_model_without_a_system_role_is_refused_only_if_a_system_message_is_needed(tmp_path: Path) -> None:
    source = families.write_model(find("Gemma"), tmp_path / "source")
    for number, is_trained in enumerate((True, False)):
        with pytest.raises(InputError, match="no system role") as caught:
            make_student(tmp_path / f"needed{number}", source, is_trained=is_trained)
        assert "system_role: none" in caught.value.fix
        folder, _ = make_student(tmp_path / f"empty{number}", source, is_trained=is_trained, has_system=False)
        assert (folder / "chat_template.jinja").read_text() == find("Gemma").template
        folder, _ = make_student(tmp_path / f"folded{number}", source, is_trained=is_trained, system_role="none")
        prompts = ChatFormat(families_tokenizer(folder), for_training=False).encode_prompts(
            [("Be brief.", "Why?"), ("", "Be brief.\n\nWhy?")]
        )
        assert prompts[0] == prompts[1]


def families_tokenizer(folder: Path) -> Any:
    from orcac.model.chat_format import load_tokenizer

    return load_tokenizer(folder)


@pytest.mark.parametrize("is_trained", [True, False])
@pytest.mark.parametrize(("name", "shown"), [("Llama 3", "26 Jul 2024"), ("gpt-oss", "2024-07-26")])
def test_a_dated_template_shows_the_date_of_the_recipe_in_every_server(
    tmp_path: Path, name: str, shown: str, is_trained: bool
) -> None:
    source = families.write_model(find(name), tmp_path / "source")
    folder, _ = make_student(tmp_path / "job", source, date="2024-07-26", is_trained=is_trained)
    server = families_tokenizer(folder)
    sent = server.apply_chat_template([{"role": "user", "content": "Why?"}], tokenize=False)
    assert shown in sent
    folder, _ = make_student(tmp_path / "default", source, is_trained=is_trained)
    sent = families_tokenizer(folder).apply_chat_template([{"role": "user", "content": "Why?"}], tokenize=False)
    assert datetime.date(2026, 1, 1).strftime("%d %b %Y" if name == "Llama 3" else "%Y-%m-%d") in sent


def test_content_in_parts_and_a_template_of_a_processor_are_understood(tmp_path: Path) -> None:
    tokenizer = families.make_tokenizer(find("Qwen2.5"))
    parts = families._CHATML.replace("m.content", "m.content[0].text")
    tokenizer.chat_template = None
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "chat_template.json").write_text(json.dumps({"chat_template": parts}))
    (example,) = ChatFormat(families_tokenizer(tmp_path)).encode_examples([("Be brief.", "Why?", "So.")])
    (same,) = ChatFormat(families.make_tokenizer(find("Qwen2.5"))).encode_examples([("Be brief.", "Why?", "So.")])
    assert example == same


def test_several_templates_without_a_default_are_refused() -> None:
    tokenizer = families.make_tokenizer(find("Qwen2.5"))
    tokenizer.chat_template = {"rag": "{{ messages }}", "tool_use": "{{ messages }}"}
    with pytest.raises(InputError, match="several chat templates"):
        ChatFormat(tokenizer)


def test_a_template_that_closes_the_reasoning_is_found_before_anything_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from orcac.model.chat_format import load_tokenizer
    from orcac.student.pretrained import check_reasoning

    closing = "{{ '<think>\\n\\n</think>\\n\\n' }}"
    template = (  # as Qwen3.5's with thinking off
        "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' }}{% if m.role == 'assistant' %}"
        "{{ '<think>\\n' + (m.reasoning_content or '') + '\\n</think>\\n\\n' }}{% endif %}"
        "{{ m.content + '<|im_end|>\\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}" + closing + "{% endif %}"
    )
    tokenizer = families.make_tokenizer(find("Qwen2.5"))
    tokenizer.chat_template = template
    chat = ChatFormat(tokenizer)
    with pytest.raises(InputError, match="opens an answer with") as caught:
        check_reasoning(chat, "certain")
    assert "learn: [answer]" in caught.value.fix
    for reasoning, words in (("perhaps", "cannot learn reasoning, if the answers have any"), ("none", "")):
        check_reasoning(chat, reasoning)
        assert words in (said := capsys.readouterr().err) and bool(said) == bool(words)
    assert not check_reasoning(ChatFormat(families.make_tokenizer(find("Qwen2.5"))), "certain")
    families.write_model(find("Qwen2.5"), tmp_path / "source")
    (tmp_path / "source" / "chat_template.jinja").write_text(template)
    assert load_tokenizer(tmp_path / "source").chat_template == template
    with pytest.raises(InputError, match="opens an answer with"):
        make_student(tmp_path / "job", tmp_path / "source", reasoning="certain")
    folder, _ = make_student(tmp_path / "answers", tmp_path / "source")
    assert (folder / "chat_template.jinja").read_text() == template


# --- mistakes of masks that have been published ----------------------------------------------------------------------

_MARKED = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role }}{% if m.role == 'assistant' %}ANSWER"
    "{% else %}{{ '\n' + m.content + '<|im_end|>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistantOPENING' }}{% endif %}"
)
_ANSWER = "{{ '\n' }}{% generation %}{{ m.content + '<|im_end|>' }}{% endgeneration %}{{ '\n' }}"


@pytest.mark.parametrize(
    ("answer", "opening", "message", "fix"),
    [
        (
            "{{ '\n' + m.content }}{% generation %}{{ '<|im_end|>' }}{% endgeneration %}",
            "\n",
            "every label would be masked",
            "put the answer and its end token between",
        ),
        (
            "{{ '\n' }}{% generation %}{% if m.reasoning_content %}{{ m.content + '\n' }}{% endif %}"
            "{{ m.content + '<|im_end|>' }}{% endgeneration %}",
            "\n",
            "writes the answer 2 times and leaves out the reasoning",
            "each text is to be there once",
        ),
        (
            "{% generation %}{{ '\n' + m.content + '<|im_end|>' }}{% endgeneration %}",
            "\n",
            r"marks '\\n' as learnt",
            "move {% generation %} behind it",
        ),
        (_ANSWER, "", "opens an answer with", "make its generation prompt equal"),
        (
            "{{ '\n' }}{% generation %}{{ m.content }}{% endgeneration %}{{ '<|im_end|>\n' }}",
            "\n",
            "does not teach the student to stop",
            "inside {% generation %} marks",
        ),
    ],
    ids=["all masked", "reasoning dropped and answer doubled", "newline learnt", "newline in neither", "no end learnt"],
)
def test_a_mask_with_a_mistake_is_refused_with_its_fix(
    tmp_path: Path, answer: str, opening: str, message: str, fix: str
) -> None:
    source = families.write_model(find("Qwen2.5"), tmp_path / "source")
    template = _MARKED.replace("ANSWER", answer).replace("OPENING", opening)
    (source / "chat_template.jinja").write_text(template)
    with pytest.raises(InputError, match=message) as caught:
        make_student(tmp_path / "job", source)
    assert fix in caught.value.fix


def test_reasoning_that_a_template_keeps_in_the_last_turn_alone_is_learnt(tmp_path: Path) -> None:
    family = find("Qwen3")  # a row has one turn of the assistant, which is the last
    folder, _ = make_student(tmp_path / "job", families.write_model(family, tmp_path / "source"))
    server = families_tokenizer(folder)
    turns = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So.", "reasoning_content": "Hm."}]
    assert "Hm." not in server.apply_chat_template([*turns, turns[0]], tokenize=False)
    (example,) = load_format(folder).encode_examples([("", "Why?", "So.", "Hm.")])
    assert "Hm." in server.decode(example.input_ids[example.prompt_tokens :])
