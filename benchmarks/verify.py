"""Compare the verifier with the marks recorded in GSM8K responses, and show every disagreement with a verdict.

`python benchmarks/verify.py RECORDS [answer|last]`: RECORDS has the columns query, candidate, response, reference and
reward (0 or 1). Verdicts are those of reading all disagreements of one table; of another, or of other rows, it says
that they were not read.
"""

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from rich.console import Console

from zooter.collect.rewarder.checking.answer_extraction import PICKS, extract_number
from zooter.collect.rewarder.verify import VerifyRewarder
from zooter.data.files import sha256
from zooter.data.types import Query, Response

TAIL = 220  # characters of a response that are shown
INSPECTED_TABLE = "6c4a4257b83222eb29dd610a0fda9f81"  # start of the SHA-256 of the table whose disagreements were read
SAYS_THE_REFERENCE = """
    11 17 37 39 55 61 89 96 97 117 147 149 157 247 275 303 305 313 363 369 381 391 411 455 471 511 513 515 517 523
    545 555 577 579 603 615 671 717 725 737 811 825 861 877 903 933 1013 1015 1021 1055 1084 1085 1109 1135 1149
    1161 1169 1191 1211 1230 1231 1233 1247 1271 1277 1349 1379 1397 1411 1419 1421 1427 1435 1461 1501 1521 1585
    1655 1663 1665 1695 1712 1723 1745 1747 1807 1845 1848 1871 1897 1979 2002 2103 2141 2161 2167 2175 2205 2235
    2267 2269 2273 2279 2283 2318 2347 2375 2387 2436 2447 2477 2483 2489 2497 2531 2597
"""
VERDICTS = {int(row): ("verifier", "the answer is the reference") for row in SAYS_THE_REFERENCE.split()} | {
    328: ("verifier", "the answer has the other sign, and says so in words"),
    362: ("mark", "the answer is left open: the reference less something unknown"),
    382: ("verifier", "the answer is a tenth of the reference"),
    920: ("mark", "the same amount in another unit"),
    1319: ("mark", "the answer is there, the sentence ends in a number of the question"),
    1463: ("mark", "the answer is there, behind a sum in the same sentence"),
    1616: ("verifier", "there is no answer"),
    2482: ("verifier", "the answer was rounded on the way and is another number"),
    2538: ("mark", "a distance, which has no sign"),
}


def verdict(row: int, inspected: bool) -> tuple[str, str]:
    """Look up which of the two is right, and why."""
    return VERDICTS.get(row, ("not read", "")) if inspected else ("not read", "")


def main(table: Path, pick: str) -> None:
    rows = pq.read_table(table).to_pylist()
    marks = np.array([row["reward"] for row in rows])
    queries = [Query(str(i), row["query"], row["reference"]) for i, row in enumerate(rows)]
    responses = [Response(str(i), row["candidate"], 0, row["response"]) for i, row in enumerate(rows)]
    rewards = {name: VerifyRewarder(pick=name).reward(queries, responses) for name in PICKS}
    console = Console(highlight=False, soft_wrap=True)
    inspected = sha256(table).startswith(INSPECTED_TABLE)
    for i in np.flatnonzero(rewards[pick] != marks):
        answer = extract_number(rows[i]["response"], rows[i]["query"], pick)
        console.rule(f"row {i}, {rows[i]['candidate']}")
        console.print(
            f"reference {rows[i]['reference']}, answer {answer.value if answer else None}: "
            f"mark {marks[i]:.0f}, verifier {rewards[pick][i]:.0f}"
        )
        right, why = verdict(i, inspected)
        console.print(f"right: {right}{', ' if why else ''}{why}")
        console.print(rows[i]["response"].strip()[-TAIL:], markup=False)
    console.rule()
    for name in PICKS:
        agree = rewards[name] == marks
        verdicts = Counter(verdict(i, inspected)[0] for i in np.flatnonzero(~agree))
        console.print(
            f"pick={name}: agrees with the marks on {agree.sum()} of {len(rows)} ({agree.mean():.2%}); of the rest "
            f"{', '.join(f'{who} right in {count}' for who, count in verdicts.most_common())}"
        )
        for candidate in sorted({row["candidate"] for row in rows}):
            is_candidate = np.array([row["candidate"] == candidate for row in rows])
            console.print(
                f"  {candidate}: marked {marks[is_candidate].mean():.1%} right, "
                f"verified {rewards[name][is_candidate].mean():.1%}"
            )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "answer")
