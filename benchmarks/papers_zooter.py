"""Test ZOOTER's claims on the zoo: a router distilled from a small reward model, measured by the verifier's truth."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from papers_zoo import table

# The labels of §3.2; β = 0.3 is the paper's best.
LABELS = ("label.temperature=1.0", "label.unit=reward", "label.order=soften_then_average", "label.shrinkage=0.0")
BETAS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)  # of its table 2
GROUPS = {
    "numbers": ("addition", "subtraction", "multiplication", "comparison", "sequence", "conversion", "roman"),
    "words": (
        "reversal", "letter_count", "letter_position", "letter_sorting", "plural", "past", "opposite", "ordering",
    ),
    "knowledge": ("capital", "element", "clock", "date", "weekday", "choice"),
}  # fmt: skip
TITLES = {
    "routed": "router, β = 0.3", "ranking": "reward-model ranking", "best_single": "best single model", "knn": "kNN",
    "per_tag_best": "best per tag",
}  # fmt: skip


def train(folder: Path, cache: Path, *changes: str) -> dict[str, Any]:
    """Train a router by the command line, and return the section `test` of its report."""
    groups = ",".join(f"{skill}:{group}" for group, skills in GROUPS.items() for skill in skills)
    command = [
        sys.executable, "train.py", *changes, f"run_dir={folder}", f"cache_dir={cache}", f"groups={{{groups}}}",
        "logger=none", "export.onnx=false", *LABELS,
    ]  # fmt: skip
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    report: dict[str, Any] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return report["test"]  # type: ignore[no-any-return]


def section(cache: Path) -> list[str]:
    """Write this part's Markdown."""
    folder = cache / "papers_zooter"
    others = ",".join(str(beta) for beta in BETAS if beta != 0.3)
    soft = train(folder / "soft", cache, "experiment=zoo", "label.beta=0.3", f"compare_beta=[{others}]")
    records = f"records={folder / 'soft' / 'records.parquet'}"
    hard = train(folder / "hard", cache, "experiment=recorded", records, "label.hard=true", "label.beta=1.0")
    net = train(folder / "net", cache, "experiment=recorded", records, "net=zooter", "encoder=minilm", "label.beta=0.3")
    return [
        "## ZOOTER: a router distilled from rewards",
        "",
        f"{soft['queries']:,} test queries of {len(soft['tags'])} skills, greedy answers of {len(soft['candidates'])}"
        " candidates. What learns has the rewards of the zoo's small reward model; everything is measured by the"
        " verifier. Skills are tasks, in three groups; labels are the paper's, and so is β = 0.3. The router is ours"
        " on a frozen MiniLM, but for the last row of the second table: the paper's net on MiniLM in mDeBERTa's place.",
        "",
        *_methods(soft),
        *_betas(soft, hard, net),
        *_entropy(soft),
    ]  # fmt: skip


def _methods(test: Mapping[str, Any]) -> list[str]:
    """Print the columns of table 1."""
    rows = []
    for name, title in TITLES.items():
        ranks = {key: test[key][name] for key in ("mean_task_rank", "uplift")}
        rows.append([title, *_cells(test, "methods", name), *_overall(test[name], ranks)])
    for name, numbers in test["candidates"].items():
        rows.append([f"`{name}`", *_cells(test, "candidates", name), *_overall(numbers["reward"], numbers)])
    head = [cell for group in test["groups"] for cell in (group, "rank")]
    over = test["over_best_single"]
    ahead = 100 * (test["routed"] - test["ranking"])
    verdict = "**Holds.**" if ahead < 0 else "**Does not hold:** the router is ahead."
    return [
        "### Table 1: single models, reward-model ranking, the router",
        "",
        *table(["", *head, "all", "mean task rank", "uplift"], rows),
        f"Claim: the router is better than the best single model on average. {_sign(over['ci'])} ({_points(over)}).",
        "",
        "Claim: the router stays behind reward-model ranking by its own teacher, which asks all candidates."
        f" {verdict} The router less its teacher's ranking: {ahead:+.1f} points.",
        "",
    ]


def _cells(test: Mapping[str, Any], kind: str, name: str) -> list[str]:
    numbers = [group[kind][name] for group in test["groups"].values()]
    return [cell for group in numbers for cell in (f"{100 * group['mean']:.1f}", f"{group['mean_task_rank']:.2f}")]


def _overall(mean: float, ranks: Mapping[str, float]) -> list[str]:
    return [f"{100 * mean:.1f}", f"{ranks['mean_task_rank']:.2f}", f"{ranks['uplift']:.0%}"]


def _betas(soft: Mapping[str, Any], hard: Mapping[str, Any], net: Mapping[str, Any]) -> list[str]:
    """Print table 2: mean task ranks by β."""
    named = {beta: "routed" if beta == 0.3 else f"routed, β = {beta:g}" for beta in BETAS}
    rows = [["hard labels", *_rank_cells(hard, "routed")]]
    rows += [[f"β = {beta:g}", *_rank_cells(soft, name)] for beta, name in named.items()]
    rows += [["β = 0.3, the paper's net", *_rank_cells(net, "routed")]]
    means = {beta: soft[name] for beta, name in named.items()}
    best = max(means, key=lambda beta: float(means[beta]))
    return [
        "### Table 2: hard labels and β",
        "",
        *table(["labels", *soft["groups"], "all", "uplift", "accuracy"], rows),
        f"Claim: tags help, and β = 0.3 is the best. {_best(best)} Accuracy at β = 0.3 less that at β = 1, where tags"
        f" have no weight: {100 * (means[0.3] - means[1.0]):+.1f} points; less that of hard labels:"
        f" {100 * (means[0.3] - hard['routed']):+.1f}; less that of the best β:"
        f" {100 * (means[0.3] - means[best]):+.1f}. The paper chose β on its test benchmarks.",
        "",
    ]


def _best(beta: float) -> str:
    return "**Holds.**" if beta == 0.3 else f"**Does not hold:** β = {beta:g} is the best here."


def _rank_cells(test: Mapping[str, Any], name: str) -> list[str]:
    ranks = [f"{group['methods'][name]['mean_task_rank']:.2f}" for group in test["groups"].values()]
    return [
        *ranks, f"{test['mean_task_rank'][name]:.2f}", f"{test['uplift'][name]:.0%}", f"{100 * test[name]:.1f}",
    ]  # fmt: skip


def _entropy(test: Mapping[str, Any]) -> list[str]:
    """Print the series of figure 3."""
    series = test["entropy"]
    rows: Sequence[Sequence[str]] = [
        ["entropy, bits", *(f"{bits:.2f}" for bits in series["bits"])],
        ["accuracy of reward-model ranking", *(f"{100 * value:.1f}" for value in series["ranking"])],
    ]
    spearman = series["spearman"]["ranking"]
    return [
        "### Figure 3: entropy of a query's rewards",
        "",
        *table(["eighth of the queries", *map(str, range(1, len(series["bits"]) + 1))], rows),
        "Claim: where rewards do not tell the candidates apart, reward-model ranking's pick is worse. Spearman's"
        f" correlation over queries: {spearman:+.2f}. {'**Holds.**' if spearman < 0 else '**Does not hold.**'}",
        "",
    ]


def _sign(ci: Sequence[float]) -> str:
    return "**Holds**" if ci[0] > 0 else "**The opposite holds**" if ci[1] < 0 else "**Cannot be told apart**"


def _points(difference: Mapping[str, Any]) -> str:
    low, high = (100 * end for end in difference["ci"])
    return f"{100 * difference['mean']:+.1f} points, {low:+.1f}…{high:+.1f}"
