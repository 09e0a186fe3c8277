"""Verdicts against a reference, by hand-written tables."""

import logging
import math
import time

import numpy as np
import pytest
from support.paths import SHARED

from zooter.collect.rewarder.checking.numbers import find_numbers, normalise_notation
from zooter.collect.rewarder.verify import METHODS, VerifyRewarder, extract_code
from zooter.data.content_keys import reward_keys
from zooter.data.types import Query, Response
from zooter.errors import ConfigError

GSM8K = SHARED / "data" / "gsm8k_responses.parquet"  # beside the project, if present


def reward_of(rewarder: VerifyRewarder, text: str, reference: str | None, query: str = "?") -> float:
    answer = Response("q", "a", 0, text)
    return float(rewarder.reward([Query("q", query, reference)], [answer])[0])


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("He has 3 apples.", ["3"]),
        ("-3 and −4 and $-5 and -$6", ["-3", "-4", "-5", "-6"]),
        ("16-3=13", ["16", "3", "13"]),
        ("x=-2", ["-2"]),
        ("1,234,567.50 dollars", ["2469135/2"]),
        ("12,50,000 rupees", ["1250000"]),
        ("1, 2, 3", ["1", "2", "3"]),
        ("one of 3,4", ["3", "4"]),
        (r"\frac{3}{4} and 2\frac{1}{2} and 1/3 and 1 1/2 and ½", ["3/4", "5/2", "1/3", "3/2", "1/2"]),
        ("1/0", []),
        ("$2.5 million", ["2500000"]),
        ("3.2e3, 6 x 10^2", ["3200", "600"]),
        (r"\$10{,}000", ["10000"]),
        (r"\frac{12}{5,\!525} \frac{1,200}{7}", ["12/5525", "1200/7"]),
        ("5/12/2024", ["5", "12", "2024"]),
        (".5", ["1/2"]),
        ("18.", ["18"]),
        ("no number", []),
    ],
)
def test_numbers_are_parsed_exactly(text: str, values: list[str]) -> None:
    assert [str(number.value) for number in find_numbers(normalise_notation(text))] == values


@pytest.mark.parametrize(
    ("reference", "text", "right"),
    [
        ("33", "#### $33.00", 1.0),
        ("33", "It costs $33.01.", 0.0),
        ("1,600", "1600 trees", 1.0),
        ("50", "The chance is 50%.", 1.0),
        ("50%", "0.5", 1.0),
        ("0.5", "50 percent", 1.0),
        ("0.5", "50", 0.0),
        ("0.75", "3/4 of it", 1.0),
        ("15", "#### -15", 0.0),
        ("64", "She pays $64 for the 16 glasses.", 1.0),
        ("45", "180 - 135 = 45 miles away after 4 hours.", 1.0),
        ("7", "It is 7.\n#### 7 packs and 2 left over", 1.0),
        ("8", r"so \boxed{8} (see step 3)", 1.0),
        ("12", "The answer is 10 + 2 = 12 of the 20.", 1.0),
        ("12", "The answer is: **12**", 1.0),
        ("5", "I do not know.", 0.0),
        ("5", "", 0.0),
    ],
)
def test_numeric(reference: str, text: str, right: float) -> None:
    query = "What do 16 glasses cost? He drives 180 miles and 4 hours."
    assert reward_of(VerifyRewarder(), text, reference, query) == right


@pytest.mark.parametrize(
    "text",
    [unit * 30_000 for unit in ("9", "9,", "1/", "1 2/3 ", "#", "the answer is ", "<<", "1e", "\\boxed{", "\\frac{1",
                                "\u00a0", "\n", "* ", "A\n", "```\n", "answer(", "1 ", ". ")]
    + ["the answer" + " " * 30_000, "```" + " " * 30_000, "1" + " " * 30_000, "A" + "\n" * 30_000],
    ids=lambda text: repr(text[:4] + text[-3:]),
)  # fmt: skip
@pytest.mark.parametrize("method", ["numeric", "choice", "exact"])
def test_a_repetitive_response_is_verified_in_time(method: str, text: str) -> None:
    started = time.process_time()  # independent of the machine's load
    reward_of(VerifyRewarder(method), text, "7" if method != "choice" else "B")
    extract_code(text)
    assert time.process_time() - started < 3.0


def test_pick_last_takes_the_last_number() -> None:
    last = VerifyRewarder(pick="last")
    assert reward_of(last, "#### 7 packs and 2 left over", "7") == 0.0
    assert reward_of(last, "#### 7 packs and 2 left over", "2") == 1.0


def test_a_tolerance_is_a_share_of_the_reference() -> None:
    assert reward_of(VerifyRewarder(tolerance=0.01), "3.33", "3.3333") == 1.0
    assert reward_of(VerifyRewarder(tolerance=0.01), "3.2", "3.3333") == 0.0


@pytest.mark.parametrize(
    ("reference", "text", "right"),
    [
        ("Paris", "paris.", 1.0),
        ("Paris", "The answer is Paris.", 1.0),
        ("Paris", "It is Paris, not Rome", 0.0),
        ("ﬁve  days", "FIVE days!", 1.0),
        ("50%", "50", 0.0),
    ],
)
def test_exact(reference: str, text: str, right: float) -> None:
    assert reward_of(VerifyRewarder("exact"), text, reference) == right


@pytest.mark.parametrize(
    ("reference", "text", "right"),
    [
        ("The Eiffel Tower", "eiffel tower!", 1.0),
        ("U.S.", "the US", 1.0),
        ("Eiffel Tower", "The answer is the Eiffel Tower.", 1.0),
        ("Eiffel Tower", "It is the Eiffel Tower", 0.0),
        ("a", "b", math.nan),  # an article alone: nothing to compare
    ],
)
def test_squad(reference: str, text: str, right: float) -> None:
    np.testing.assert_equal(reward_of(VerifyRewarder("squad"), text, reference), right)


def test_choice_compares_letters() -> None:
    assert reward_of(VerifyRewarder("choice"), "The answer to this question is C.", "(c)") == 1.0
    assert reward_of(VerifyRewarder("choice"), "The answer to this question is C.", "B") == 0.0
    assert reward_of(VerifyRewarder("choice"), "No idea", "B") == 0.0


@pytest.mark.parametrize(
    ("reference", "text", "right"),
    [
        ("05/01/2021", "The answer is May 1st, 2021.", 1.0),
        ("05/01/2021", "It was the 1st of May 2021", 1.0),
        ("05/01/2021", r"\boxed{2021-05-01}", 1.0),
        ("05/01/2021", "01/05/2021", 0.0),
        ("05/01/2021", "someday", 0.0),
        ("someday", "05/01/2021", math.nan),
    ],
)
def test_date(reference: str, text: str, right: float) -> None:
    np.testing.assert_equal(reward_of(VerifyRewarder("date"), text, reference), right)


def test_with_the_day_first_a_date_is_another() -> None:
    assert reward_of(VerifyRewarder("date", day_first=True), "January 5, 2021", "05/01/2021") == 1.0


def any_of(method: str, text: str, *references: str) -> float:
    query = Query("q", "?", references[0], (), references[1:])
    return float(VerifyRewarder(method, seconds=0.2).reward([query], [Response("q", "a", 0, text)])[0])


def test_any_of_several_references_is_right() -> None:
    assert any_of("exact", "NYC", "New York", "NYC") == 1.0
    assert any_of("exact", "Boston", "New York", "NYC") == 0.0
    assert any_of("numeric", "7", "six", "7") == 1.0
    assert any_of("numeric", "8", "six", "7") == 0.0  # one that does not suit is left out
    assert math.isnan(any_of("numeric", "8", "six", "seven"))
    assert math.isnan(any_of("regex", "a" * 40 + "!", "b", "^(a|a|aa)+(a|aa)+$"))  # it might have been right


def test_several_references_are_part_of_a_rewards_key() -> None:
    answer, identity = [Response("q", "a", 0, "4")], VerifyRewarder().identity()
    keys = [reward_keys(identity, [Query("q", "?", "4", (), others)], answer)[0] for others in ((), ("5",), ("6",))]
    assert len(set(keys)) == 3


@pytest.mark.parametrize("method", [method for method in METHODS if method != "python"])
@pytest.mark.parametrize("reference", ["", " \n"])
def test_an_empty_reference_gives_no_reward(method: str, reference: str) -> None:
    assert math.isnan(reward_of(VerifyRewarder(method), "", reference))


def test_a_number_is_not_searched_outside_a_box_that_holds_none() -> None:
    assert reward_of(VerifyRewarder(), r"There are 7 of them: \boxed{\text{seven}}", "7") == 0.0
    assert reward_of(VerifyRewarder(), r"There are 7 of them: \boxed{}", "7") == 0.0


def test_the_first_box_of_a_model_that_rambles_on() -> None:
    text = r"So \boxed{7}. Question: what is 4 + 4? So \boxed{8}."
    assert reward_of(VerifyRewarder(which="first"), text, "7") == 1.0
    assert reward_of(VerifyRewarder(), text, "7") == 0.0


@pytest.mark.parametrize(("text", "right"), [("call 555-1234 now", 1.0), ("call me", 0.0)])
def test_regex(text: str, right: float) -> None:
    assert reward_of(VerifyRewarder("regex"), text, r"\b\d{3}-\d{4}\b") == right


def test_a_pattern_that_backtracks_forever_misses_its_deadline(caplog: pytest.LogCaptureFixture) -> None:
    rewarder = VerifyRewarder("regex", seconds=0.2)
    assert math.isnan(reward_of(rewarder, "a" * 40 + "!", r"^(a|a|aa)+(a|aa)+$"))
    assert "1 of 1 responses get no reward: the comparison missed its deadline" in caplog.text


@pytest.mark.parametrize(
    ("method", "reference", "reason"),
    [
        ("numeric", "about ten", "not one number"),
        ("numeric", "3 or 4", "not one number"),
        ("choice", "Paris", "not one letter"),
        ("regex", "(", "not a regular expression"),
        ("exact", None, "no reference"),
    ],
)
def test_a_reference_that_does_not_suit_gives_no_reward(
    method: str, reference: str | None, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert math.isnan(reward_of(VerifyRewarder(method), "4", reference))
    assert reason in caplog.text


def test_a_failed_response_gets_no_reward_and_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    failed = Response("q", "a", 0, "", error="timeout")
    assert np.isnan(VerifyRewarder().reward([Query("q", "?", "4")], [failed])).all()
    assert not caplog.text


def test_a_tag_selects_another_method() -> None:
    rewarder = VerifyRewarder("exact", by_tag={"sums": "numeric"})
    queries = [Query("1", "?", "4", ("easy", "sums")), Query("2", "?", "4")]
    texts = [Response("1", "a", 0, "4.00"), Response("2", "a", 0, "4.00")]
    assert rewarder.reward(queries, texts).tolist() == [1.0, 0.0]


def test_tags_are_part_of_a_rewards_key_only_where_they_select_the_method() -> None:
    texts = [Response("1", "a", 0, "4")]
    for rewarder, expected in ((VerifyRewarder(), False), (VerifyRewarder(by_tag={"sums": "exact"}), True)):
        keys = [reward_keys(rewarder.identity(), [Query("1", "?", "4", tags)], texts) for tags in ((), ("sums",))]
        assert (keys[0] != keys[1]) is expected


def test_the_code_of_a_response_is_its_longest_block() -> None:
    assert extract_code("Use\n```python\ndef f():\n    return 1\n```\nand\n```\nf()\n```") == "def f():\n    return 1\n"
    assert extract_code("def f(): return 1") == "def f(): return 1"
    assert extract_code("```py\nx = 1") == "x = 1"


def test_everything_that_can_change_a_verdict_is_in_the_identity() -> None:
    identity = VerifyRewarder().identity()
    assert identity != VerifyRewarder("exact").identity()
    assert identity != VerifyRewarder(pick="last").identity()
    assert identity == VerifyRewarder(workers=9).identity()


@pytest.mark.parametrize(
    "settings",
    [{"method": "guess"}, {"by_tag": {"x": "guess"}}, {"pick": "first"}, {"which": "best"}, {"tolerance": -1.0},
     {"seconds": 0.0}, {"workers": 0}, {"letters": "ab"}],
)  # fmt: skip
def test_a_setting_out_of_range_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"expected (rewarder|VerifyRewarder)\.\w+ "):
        VerifyRewarder(**settings)  # type: ignore[arg-type]


def test_every_method_has_a_comparison() -> None:
    assert tuple(VerifyRewarder()._comparisons) == METHODS


@pytest.mark.skipif(not GSM8K.exists(), reason="needs the GSM8K responses")
@pytest.mark.parametrize(("pick", "agreement"), [("last", 0.98), ("answer", 0.95)])
def test_verdicts_agree_with_recorded_gsm8k_marks(pick: str, agreement: float) -> None:
    import pyarrow.parquet as pq

    rows = pq.read_table(GSM8K).to_pylist()
    queries = [Query(str(i), row["query"], row["reference"]) for i, row in enumerate(rows)]
    responses = [Response(str(i), row["candidate"], 0, row["response"]) for i, row in enumerate(rows)]
    rewards = VerifyRewarder(pick=pick).reward(queries, responses)
    assert np.mean(rewards == [row["reward"] for row in rows]) >= agreement
