"""Print one row for each claim, figure and table of the three papers, with what the other parts measured."""

import re
from collections.abc import Sequence

from papers_zoo import table

NO_MODELS = "not possible here: the paper's models and data sets cannot be reached"
# (claim, figure or table of the paper; how it starts in this page, or None; what is to be added, or why it cannot be)
ZOOTER = [
    ("Table 1: means and mean task ranks by benchmark, uplift", "the router is better than the best single model",
     "columns reproduced; values " + NO_MODELS + ", nor can GPT-4 as judge"),
    ("Reward-model ranking by its own teacher stays ahead", "the router stays behind reward-model ranking", ""),
    ("Reward-model ranking by pair rankers and judges (LLM-Blender, Auto-J)", None,
     "not possible here: no such model; `rewarder=judge_ranking` ranks by any judge of pairs"),
    ("Table 2: hard labels, β from 0 to 1", "tags help, and β = 0.3 is the best",
     "`train.py -m label.beta=0,0.1,…` prints it"),
    ("Table 3: the sources of DivInstruct, ten queries a tag, no 6-gram of a benchmark", None,
     "not possible here: no hub; `reader=divinstruct` draws by the same rule and prints the counts"),
    ("Figure 3: reward entropy against the score of reward-model ranking's pick",
     "where rewards do not tell the candidates apart", "in every report with a truth"),
    ("One generation a query instead of six and six rewards", None,
     "holds by construction: the ledger of every comparison counts calls (docs/evaluation.md)"),
    ("Appendix B: 24 hours of rewards and 2 of training on eight A100", None, "not possible here: no such machine"),
]  # fmt: skip
MARGIN = [
    ("Best in class in 25 of 27 setups (9 tasks × 3 pairs of models); its main table",
     "margin is best in class in 25 of 27 setups",
     "with one pair, on the zoo's skills; the paper's values " + NO_MODELS + " (`experiment=margin_paper plan=true`)"),
    ("All tasks in one stream: margin is still the best", "margin is better than all of them at all prices", ""),
    ("Twice the training data: margin is still competitive", "margin is still competitive", ""),
    ("Figure: another price of the large model changes little", "the price of the large model changes little", ""),
    ("FrugalGPT is second on average", "FrugalGPT is second on average", ""),
    ("Routing and HybridLLM are good at questions, weak at classification", None,
     "not possible here: the zoo has no classification"),
    ("Margin is the better, the stronger the small model", None, "not possible here: one pair"),
    ("Costs by time and by tokens", None,
     "not tried: comparisons take recorded costs and seconds; the paper's values are not in our sources"),
]  # fmt: skip
SWITCH = [
    ("Tables: more accurate than self-consistency of either model",
     "more accurate than self-consistency of either model",
     "the authors' open pair is not, in 2 of 6 data sets at 16 samples"),
    ("34 % of the samples are saved", "about a third of the samples is saved",
     "34.8 % is at a budget of 32 with the closed pair alone; 15.8 % with the open one"),
    ("Figure 1: 35 samples reach what 512 of one model do", None,
     "not possible here: 16 samples a query are recorded"),
    ("Better than debates at 15 calls", "consistency is better than every debate",
     "no evidence: the zoo's models cannot debate"),
    ("+10.2 points on MMLU-Pro", None,
     "against one sample of one model; by the authors' own figures +2.8 against 16 samples of it"),
    ("Two models suffice", "two models suffice", ""),
    ("Robust to the order of models", "robust to the order of models", ""),
    ("With a reward model it is better still", "with a reward model in the place of the vote", ""),
    ("Entropy of answers goes with errors", "the entropy of a model's answers goes with its errors", ""),
    ("Two small models against GPT-4o and Gemini 1.5 Pro", None, NO_MODELS),
    ("With two models and equal samples, stopping early changes no answer of the plain vote", None,
     "proved by a test (`tests/selector/voting/test_consistency.py`)"),
]  # fmt: skip


def section(lines: Sequence[str]) -> list[str]:
    """Write the table of claims.

    Args:
        lines: of the other parts, from which the verdicts are taken.
    """
    text = "\n".join(lines)
    rows = [
        [paper, claim, "; ".join(filter(None, [_verdict(text, phrase), note]))]
        for paper, claims in (("ZOOTER", ZOOTER), ("Margin Sampling", MARGIN), ("ModelSwitch", SWITCH))
        for claim, phrase, note in claims
    ]
    return [
        "## Every claim, figure and table",
        "",
        "What the parts below measured on the zoo, in their words; the command above reprints it.",
        "",
        *(line.replace("---:", "---") for line in table(["paper", "claim, figure or table", "here"], rows)),
    ]


def _verdict(text: str, phrase: str | None) -> str:
    """Return what this page says behind a claim: its verdict in bold, or the whole sentence behind it."""
    if phrase is None:
        return ""
    start = text.find(f"Claim: {phrase}")
    if start < 0:
        return "not measured yet: its part of this page is missing"
    claim = re.split(r"\n| Claim: ", text[start:].removeprefix("Claim: "), maxsplit=1)[0]
    bold = re.search(r"\*\*.*?\*\*.*?(?:\.(?= |$)|$)", claim)
    if bold is not None:
        return bold[0].strip().rstrip(".")
    return re.split(r"(?<=[a-z])[.:] ", claim, maxsplit=1)[-1].strip().rstrip(".")
