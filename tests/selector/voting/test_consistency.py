"""ModelSwitch on tables written out by hand."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.table import recorded

from zooter.data.response_table import ResponseTable
from zooter.errors import ConfigError, RecordsError
from zooter.evaluation.replay import Replay
from zooter.selector.protocol import RecordedSelection
from zooter.selector.voting.answers import AnswerExtractor
from zooter.selector.voting.consistency import ConsistencySelector

TEXT = AnswerExtractor("string")


def table(rows: Sequence[Mapping[str, str]], rewards: Mapping[str, float] | None = None) -> ResponseTable:
    """Candidate → its samples, one letter each; "-" is a response without an answer, "!" a failed call."""

    def cell(letter: str) -> dict[str, object]:
        if letter == "!":
            return {"error": "down"}
        return {"text": letter, "cost": 1.0, "reward": (rewards or {}).get(letter, 0.5)}

    return recorded([{name: [cell(letter) for letter in letters] for name, letters in row.items()} for row in rows])


def select(row: Mapping[str, str], **settings: Any) -> RecordedSelection:
    selector = ConsistencySelector(**{"order": tuple(row), "samples": len(row["a"]), "extract": TEXT, **settings})
    return Replay(table([row])).run(selector)[0]


def answer_text(decided: RecordedSelection) -> str | None:
    return None if decided.selection.response is None else decided.selection.response.text


def test_a_unanimous_first_candidate_ends_it() -> None:
    decided = select({"a": "xxx", "b": "yyy"})
    assert (answer_text(decided), decided.ledger.calls, len(decided.ledger.rounds)) == ("x", {"a": 3}, 1)
    assert decided.selection.confidence == 1.0


def test_a_unanimous_later_candidate_is_taken_and_what_came_before_discarded() -> None:
    decided = select({"a": "xxxxy", "b": "zzzzz", "c": "xxxxx"})
    assert (answer_text(decided), decided.ledger.calls) == ("z", {"a": 5, "b": 5})


def test_otherwise_all_vote_with_weights_by_entropy() -> None:
    # a: x 3, y 2, weight .223: x .67, y .45. b: y 4, z 1, H = .722, weight .2 + .8 · .278 = .423: y 1.69.
    decided = select({"a": "xxxyy", "b": "yyyyz"})
    assert (answer_text(decided), decided.ledger.cost) == ("y", 10.0)
    assert decided.selection.response is not None
    assert (decided.selection.response.candidate, decided.selection.response.sample) == ("a", 3)  # the first with y
    total = 3 * 0.2233 + 2 * 0.2233 + 5 * 0.4225
    assert decided.selection.confidence == pytest.approx((2 * 0.2233 + 4 * 0.4225) / total, abs=1e-3)


def test_the_normaliser_and_the_prior_can_turn_a_vote() -> None:
    # a: aaabb → b's rival. Distinct: a .223 each, other .308; by number of answers: a .665, other .528.
    row = {"a": "xxxyy", "b": "zzzwv"}
    assert answer_text(select(row, normaliser="distinct")) == "z"  # 3 · .223 against 3 · .308
    assert answer_text(select(row, normaliser="answers")) == "x"  # 3 · .665 against 3 · .528
    assert answer_text(select(row, normaliser=None)) == "x"  # 3 against 3: the earlier candidate
    assert answer_text(select(row, normaliser=None, prior=(1, 2))) == "z"


def test_a_tie_everywhere_goes_to_the_first_answer() -> None:
    assert answer_text(select({"a": "xy", "b": "zw"})) == "x"


def test_one_answer_that_cannot_be_read_forces_a_switch() -> None:
    decided = select({"a": "xx-", "b": "yyy"})
    assert (answer_text(decided), decided.ledger.calls) == ("y", {"a": 3, "b": 3})


def test_a_share_may_suffice_in_place_of_unanimity() -> None:
    assert select({"a": "xxxy", "b": "yyyy"}, agreement=0.75).ledger.calls == {"a": 4}
    assert select({"a": "xxxy", "b": "yyyy"}, agreement=0.76).ledger.calls == {"a": 4, "b": 4}


def test_each_candidate_can_have_its_own_number_of_samples() -> None:
    decided = select({"a": "xyxx", "b": "yyyy"}, samples=1, uneven=(3, 1))
    assert (answer_text(decided), decided.ledger.calls) == ("y", {"a": 3, "b": 1})


def test_one_sample_agrees_with_itself() -> None:
    assert select({"a": "x", "b": "y"}).ledger.calls == {"a": 1}
    assert select({"a": "-", "b": "y"}).ledger.calls == {"a": 1, "b": 1}


def test_failed_calls_fall_to_the_next_candidate_and_are_in_the_ledger() -> None:
    decided = select({"a": "!!", "b": "yy"})
    assert (answer_text(decided), decided.ledger.failed) == ("y", 2)
    nothing = select({"a": "!!", "b": "!!"})
    assert (answer_text(nothing), nothing.selection.why) == (None, "no answer could be read")
    unread = select({"a": "!-", "b": "--"})
    assert unread.selection.response is not None
    assert (unread.selection.response.candidate, unread.selection.response.sample) == ("a", 1)


def test_the_strongest_on_training_rows_come_first() -> None:
    rows = recorded(
        [{"a": [{"reward": 0.1, "text": "x"}], "b": [{"reward": 0.9, "text": "x"}], "c": [{"reward": 0.5}]}]
    )
    assert ConsistencySelector().fit(rows, rows).order == ("b", "c")
    assert ConsistencySelector(candidates=3).fit(rows, rows).order == ("b", "c", "a")
    assert ConsistencySelector(("a",)).fit(rows, rows).order == ("a",)


def test_prior_weights_are_fitted_on_validation_rows() -> None:
    # b is right where they differ; at equal weights the tie goes to a. The unanimous row does not count.
    rows = table(
        [{"a": "xxyy", "b": "rrss"}, {"a": "xxyy", "b": "rrst"}, {"a": "xxxx", "b": "rrrs"}], {"r": 1.0, "x": 0.0}
    )
    wrong = table([{"a": "xxyy", "b": "rrss"}], {"r": 0.0, "x": 1.0})
    selector = ConsistencySelector(("a", "b"), samples=4, normaliser=None, fit_prior=True, extract=TEXT)
    assert selector.fit(wrong, rows).prior == (1.0, 2.0)
    assert selector.fit(rows, wrong).prior == (1.0, 1.0)  # nothing is gained
    assert ConsistencySelector(("a", "b"), samples=4, extract=TEXT).fit(rows, rows).prior == ()


def test_the_operating_points_are_numbers_of_samples() -> None:
    rows = table([{"a": "xxxxx", "b": "yyyyyy"}])
    settings = ConsistencySelector(("a", "b"), extract=TEXT).operating_points(rows)
    assert [point.samples for point in settings] == [1, 2, 3, 4]


def test_too_few_samples_are_refused_before_anything_runs() -> None:
    with pytest.raises(RecordsError, match=r"4 samples of \['a', 'b'\].*query 1"):
        Replay(table([{"a": "xxxx", "b": "yyy"}])).run(ConsistencySelector(("a", "b"), extract=TEXT))
    with pytest.raises(ConfigError, match=r"among \['a'\].*\['zed'\]"):
        Replay(table([{"a": "xxxx"}])).run(ConsistencySelector(("a", "zed"), extract=TEXT))


@pytest.mark.parametrize(
    "settings",
    [
        {"samples": 0}, {"agreement": 0.0}, {"agreement": 1.5}, {"normaliser": "n"}, {"candidates": 0},
        {"uneven": (1, 2)}, {"order": ("a", "b"), "uneven": (1, 0)}, {"order": ("a",), "prior": (0.0,)},
        {"order": ("a",), "prior": (1.0, 2.0)},
    ],
)  # fmt: skip
def test_bad_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"selector|ConsistencySelector"):
        ConsistencySelector(**settings)


def test_an_empty_order_is_refused() -> None:
    with pytest.raises(ConfigError, match="1 or more different candidates"):
        Replay(table([{"a": "xxxx"}])).run(ConsistencySelector(extract=TEXT))


@given(st.integers(1, 4).flatmap(lambda k: st.tuples(*[st.text("xyz", min_size=k, max_size=k)] * 2)))
def test_with_two_candidates_and_plain_counts_stopping_early_changes_no_answer(letters: tuple[str, str]) -> None:
    first, second = letters
    pooled = first + second
    commonest = max(dict.fromkeys(pooled), key=pooled.count)  # of several the one that comes first
    assert answer_text(select({"a": first, "b": second}, normaliser=None)) == commonest
