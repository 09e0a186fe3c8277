"""`zooter analyze`: the numbers on a made-up table, the page in the terminal, and the HTML file."""

import warnings
from pathlib import Path

import pytest
from support.evaluations import write_lines
from support.parsed_page import read_page

from zooter.commands import analyze, analyze_report, cli
from zooter.commands.analyze import AnalyzeSettings
from zooter.errors import ConfigError

WORDS = {"sums": ("plus", "minus", "digit"), "poems": ("rhyme", "verse", "sonnet")}


def table(folder: Path, n: int = 200, cost: bool = True) -> Path:
    """Write a table of two topics: `large` is right on all sums and half the poems, `poet` on all poems."""
    rows = []
    for i in range(n):
        tag = "sums" if i % 2 == 0 else "poems"
        query = f"{' '.join(WORDS[tag][(i // 2 + k) % 3] for k in range(2))} {i}"
        right = {"large": tag == "sums" or i % 4 == 1, "poet": tag == "poems", "<b>": False}
        for name, is_right in right.items():
            row = {"query": query, "candidate": name, "reward": float(is_right), "tags": [tag]}
            rows.append({**row, "cost": {"large": 0.01, "poet": 0.001, "<b>": 0.0}[name]} if cost else row)
    return write_lines(folder / "table.jsonl", *rows)


def test_the_numbers_of_a_made_up_table_are_found(tmp_path: Path) -> None:
    result = analyze.run(AnalyzeSettings(table(tmp_path)))
    assert (result.queries, result.single_name, result.single, result.missing) == (200, "large", 0.75, 0.0)
    assert result.oracle.mean == 0.25
    assert result.tag_gain is not None
    assert result.tag_gain.mean == 0.25
    assert result.word_gain.mean == pytest.approx(0.25, abs=0.01)  # of 200 queries one or two hang on the last bit
    assert [(row.tag, row.queries, row.best, row.gain.mean) for row in result.tags] == [
        ("poems", 100, "poet", 0.5), ("sums", 100, "large", 0.0),
    ]  # fmt: skip
    assert {c.name: c.contribution for c in result.candidates} == {"large": 0.5, "poet": 0.25, "<b>": 0.0}
    assert result.price is not None
    assert result.price.single == pytest.approx(0.01)
    # Half of the poems are wrong for `large`, and there the free candidate is as good.
    assert result.price.oracle == pytest.approx((100 * 0.01 + 50 * 0.001) / 200)
    # The best choices cost 0.0055 and are right on all queries; some of that can be given up for a lower price.
    assert result.price.predicted is not None
    assert result.price.predicted <= 0.0055
    assert result.repeats is None
    assert "100% of the oracle's lead over large" in analyze_report.verdict(result)
    assert "answer and score some 200 queries twice" in analyze_report.findings(result)[0]


def test_prices_can_be_given_and_a_wrong_name_is_refused(tmp_path: Path) -> None:
    path = table(tmp_path, cost=False)
    assert analyze.run(AnalyzeSettings(path)).price is None
    priced = analyze.run(AnalyzeSettings(path, prices={"large": 2.0, "poet": 1.0, "<b>": 0.5}))
    assert (priced.price_unit, priced.candidates[0].price) == ("million tokens", 2.0)
    with pytest.raises(ConfigError, match="nobody"):
        analyze.run(AnalyzeSettings(path, prices={"nobody": 2.0}))


def test_evaluations_of_another_tool_are_read_by_their_format(tmp_path: Path) -> None:
    path = tmp_path / "evals.csv"
    path.write_text("question,a,b\n" + "".join(f"query {i},{int(i % 3 > 0)},{int(i % 3 == 0)}\n" for i in range(60)))
    assert analyze.run(AnalyzeSettings(path, format="auto")).oracle.mean == pytest.approx(1 / 3)


def test_the_command_prints_a_page_and_writes_one_that_needs_no_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "page.html"
    assert cli.main(["analyze", str(table(tmp_path)), f"out={out}"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "Routing gains: 100% of the oracle's lead over large" in said
    assert "200 queries × 3 candidates, 0.0% of cells missing" in said
    html = out.read_text()
    assert read_page(html).addresses == []
    assert "&lt;b&gt;" in html
    assert "<b>" not in html


def test_a_table_on_which_nothing_can_be_gained_says_so(tmp_path: Path) -> None:
    path = write_lines(
        tmp_path / "t.jsonl",
        *({"query": f"query {i}", "candidate": c, "reward": float(c == "a")} for i in range(60) for c in "ab"),
    )
    result = analyze.run(AnalyzeSettings(path))
    assert analyze_report.verdict(result) == "Nothing to gain: a is best on every query."
    assert "promise no certain gain" in analyze_report.findings(result)[1]


@pytest.mark.parametrize("n", [1, 2, 3, 6])
def test_a_few_queries_are_analysed_without_a_warning(tmp_path: Path, n: int) -> None:
    path = write_lines(
        tmp_path / "t.jsonl",
        *(
            {"query": "🙂" * (i + 1), "candidate": c, "reward": float((i % 2 == 0) == (c == "a"))}
            for i in range(n)
            for c in "ab"
        ),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = analyze.run(AnalyzeSettings(path))
    assert result.queries == n
    assert all(analyze_report.findings(result))


@pytest.mark.parametrize("arguments", [[], ["a.parquet", "b.parquet"], ["a.parquet", "prices.a=cheap"]])
def test_a_faulty_command_line_is_refused(arguments: list[str]) -> None:
    with pytest.raises(ConfigError):
        analyze.parse(arguments)
