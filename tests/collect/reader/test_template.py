"""Templates of columns."""

import pytest

from zooter.collect.reader.template import ColumnFormatter

ROW = {
    "q": "What is {x}?", "options": ["red", "green"], "n": 1, "answer": "1 + 1 = 2\n#### 2",
    "choices": {"text": ["u", "v"]}, "label": 0, "unlabelled": -1, "nothing": None,
}  # fmt: skip
FORMATTER = ColumnFormatter({"label": ["bad", "good"], "unlabelled": ["bad", "good"]})


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{q}", "What is {x}?"),
        ("{q}\n{options:letters}", "What is {x}?\nA. red\nB. green"),
        ("{choices[text]:letters}", "A. u\nB. v"),
        ("{n:letter}", "B"),
        ("{label:letter}", "A"),
        ("{label:name}", "bad"),
        ("{label}", "0"),
        ("{unlabelled:name}", None),
        ("{nothing}", None),
        ("{answer:after ####}", "2"),
        ("{q:after ####}", None),
        ("{{n}} = {n}", "{n} = 1"),
    ],
)
def test_a_template_is_filled_in(template: str, text: str | None) -> None:
    assert FORMATTER.fill(template, ROW) == text


@pytest.mark.parametrize(
    ("template", "references"),
    [("{options}", ["red", "green"]), ("{choices[text]}", ["u", "v"]), ("{n}", ["1"]), ("{nothing}", []),
     ("{q:after ####}", []), ("{options[0]}", ["red"])],
)  # fmt: skip
def test_a_list_gives_several_references(template: str, references: list[str]) -> None:
    assert FORMATTER.fill_list(template, ROW) == references


@pytest.mark.parametrize(("template", "error"), [("{other}", KeyError), ("{n:roman}", ValueError), ("{n", ValueError)])
def test_what_does_not_exist_is_refused(template: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        FORMATTER.fill(template, ROW)
