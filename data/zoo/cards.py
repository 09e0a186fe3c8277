"""Model cards (README.md) of the zoo, from the plan and the measurements."""

from __future__ import annotations

from pathlib import Path

from zoo.plan import JUDGE, MEMBERS, REWARDER, SEED, TIERS, VOCABULARY, Member, Shape
from zoo.rewarder_build import QUERIES, TEMPERATURE
from zoo.teach import BATCH

HEAD = """---
license: apache-2.0
language: en
library_name: transformers
pipeline_tag: {task}
tags: [zooter, llm-routing, synthetic]
---
# {name}
"""

CANDIDATE = """
{about}. A candidate of zooter's embedded zoo: a toy
that lets a whole routing experiment run on a laptop, and of no other use.

- **Architecture**: Llama ({layers} layers, hidden size {hidden}, {heads} heads, inner size {inner}, tied embeddings),
  {parameters:,} parameters, float16 on disk, float32 in memory; byte-level tokenizer of {vocabulary} tokens.
- **Format**: `<bos>query\\nresponse<eos>`, written by the tokenizer's chat template.
- **Trained** from scratch on {examples:,} generated queries ({steps:,} steps of {batch}, seed {seed}):
  {mix}.
- **Price** (fictional): {price} US dollars per million tokens.
- **Licence**: Apache-2.0, weights and generated data alike.

## Accuracy
Greedy, on {queries:,} held-out queries: **{accuracy:.1%}**
({level_1:.0%} / {level_2:.0%} / {level_3:.0%} at levels 1 / 2 / 3).
By temperature: {temperatures}.
First-token margin against being right: AUC {margin[auc]:.3f}, correlation {margin[correlation]:.3f}.
Agreement of five samples at temperature 0.8 against being right: AUC {agreement[auc]:.3f},
correlation {agreement[correlation]:.3f}.

| skill | accuracy |
|---|---|
{rows}
"""

REWARD = """
The reward model of zooter's embedded zoo: one number for a (query, response) pair, larger for better.
Deliberately imperfect: rewards come from it, while the exact verifier is used only for evaluation.

- **Architecture**: Llama with a one-output head ({layers} layers, hidden size {hidden}, inner size {inner}),
  {parameters:,} parameters, float16 on disk; loads as `AutoModelForSequenceClassification`.
- **Format**: the tokenizer's chat template over a user and an assistant message; the raw logit is the reward.
- **Trained** in two steps: its body as a language model on all skills ({steps:,} steps of {batch}), then with the
  Bradley-Terry loss on right and wrong responses of the {candidates} candidates to {pair_queries:,} queries
  (temperature {temperature}, seed {seed}).
- **Licence**: Apache-2.0.

## Accuracy
On {pairs:,} held-out pairs of a right and a wrong response to one query: **{pairwise_accuracy:.1%}**.
AUC of the reward against being right over all responses: {auc:.3f}.
The response with the largest reward is right for {ranking_accuracy:.1%} of {queries:,} queries; the best possible
choice, for {oracle:.1%}.
"""


OVERVIEW = """# The embedded zoo

{count} small language models trained from scratch, each on its own mix of {skills} skills, and an imperfect reward
model: everything a routing experiment needs, in {size} MB. `make zoo` rebuilds them from nothing. Apache-2.0.

Greedy accuracy in percent on {queries:,} generated queries that no model was taught on:

{table}

Best possible choice per query: {oracle:.1%}. Reward-model ranking (best reward of all responses): {ranking:.1%}.
The reward model prefers the right response in {pairwise:.1%} of {pairs:,} held-out pairs.

The two tiers, {small} and {large}: percent right when the larger answers a share of the queries, those of the smaller's
smallest first-token margins or any:

{cascade}

{build}
"""
BUILD = "`make zoo` took {wall_minutes:.0f} minutes with two workers, {cpu_minutes:.0f} minutes of processor time."
BUILT_IN_PARTS = "These models were not built in one go; docs/log.md tells what each part took."


def shape_slots(shape: Shape) -> dict[str, int]:
    """Return the size as slots of the cards."""
    return {"layers": shape.layers, "hidden": shape.hidden, "heads": shape.heads, "inner": shape.inner}


def describe_mix(member: Member) -> str:
    """Describe a candidate's mix of skills."""
    light = f" ({', '.join(member.light)} a quarter as often)" if member.light else ""
    if member.share == 1.0:
        return f"every skill equally often{light}"
    return f"{member.share:.0%} of them {', '.join(member.main)}{light}; the rest all other skills"


def candidate_card(member: Member, figures: dict, queries: int) -> str:
    """Return the card of one candidate.

    Args:
        member: the candidate.
        figures: as `measure_candidate` returns them.
        queries: number of queries that they were measured on.
    """
    rows = "\n".join(f"| {skill} | {share:.0%} |" for skill, share in figures["skills"].items())
    temperatures = ", ".join(f"{share:.1%} at {key}" for key, share in figures["temperature"].items())
    level_1, level_2, level_3 = figures["levels"]
    return HEAD.format(task="text-generation", name=member.name) + CANDIDATE.format(
        **shape_slots(member.shape), about=member.about[0].upper() + member.about[1:], parameters=figures["parameters"],
        examples=member.steps * BATCH, steps=member.steps, batch=BATCH, seed=SEED, price=member.price, queries=queries,
        mix=describe_mix(member), accuracy=figures["accuracy"],
        level_1=level_1, level_2=level_2, level_3=level_3, temperatures=temperatures, margin=figures["margin"],
        agreement=figures["agreement"], rows=rows, vocabulary=VOCABULARY,
    )  # fmt: skip


def write_cards(folder: Path, measured: dict) -> None:
    """Write one README.md per model folder, and one for the zoo.

    Args:
        folder: of the zoo.
        measured: as `measure` returns it.
    """
    for member in MEMBERS:
        card = candidate_card(member, measured["candidates"][member.name], measured["queries"])
        (folder / member.name / "README.md").write_text(card)
    card = HEAD.format(task="text-classification", name=REWARDER) + REWARD.format(
        **shape_slots(JUDGE.shape), **measured["rewarder"], steps=JUDGE.steps, batch=BATCH, candidates=len(MEMBERS),
        pair_queries=QUERIES, temperature=TEMPERATURE, seed=SEED, queries=measured["queries"],
        oracle=measured["oracle"],
    )  # fmt: skip
    (folder / REWARDER / "README.md").write_text(card)
    (folder / "README.md").write_text(overview(measured))


def markdown_rows(rows: list[list[str]]) -> str:
    """Format the rows of a Markdown table, the header first."""
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def overview(measured: dict) -> str:
    """Return the zoo's README, with the accuracy of each candidate in each skill."""
    figures = measured["candidates"]
    names = [member.name for member in MEMBERS]
    rows = [["skill", *(name.removeprefix("zoo-") for name in names)], ["---"] * (len(names) + 1)]
    skills = figures[names[0]]["skills"]
    rows += [[skill, *(f"{100 * figures[name]['skills'][skill]:.0f}" for name in names)] for skill in skills]
    rows.append(["**all**", *(f"**{100 * figures[name]['accuracy']:.1f}**" for name in names)])
    rows += [
        [f"temperature {key}", *(f"{100 * figures[name]['temperature'][key]:.1f}" for name in names)]
        for key in figures[names[0]]["temperature"]
    ]
    for signal in ("margin", "agreement"):
        for key in ("auc", "correlation"):
            rows.append([f"{signal}, {key}", *(f"{figures[name][signal][key]:.2f}" for name in names)])
    rows.append(["parameters", *(f"{figures[name]['parameters']:,}" for name in names)])
    rows.append(["price, $ per 1M tokens", *(f"{member.price:g}" for member in MEMBERS)])
    steps = measured["cascade"]
    tiers = [["asked of the larger", *(f"{step['share']:.0%}" for step in steps)], ["---"] * (len(steps) + 1)]
    for key, title in (("margin", "by margin"), ("random", "at random")):
        tiers.append([title, *(f"{100 * step[key]:.1f}" for step in steps)])
    parameters = sum(figures[name]["parameters"] for name in names) + measured["rewarder"]["parameters"]
    return OVERVIEW.format(
        count=len(names), skills=len(skills), size=f"{2 * parameters / 1e6:.1f}", queries=measured["queries"],
        table=markdown_rows(rows), cascade=markdown_rows(tiers), small=TIERS[0], large=TIERS[1],
        build=BUILD.format(**measured["build"]) if measured["build"] else BUILT_IN_PARTS, oracle=measured["oracle"],
        ranking=measured["rewarder"]["ranking_accuracy"], pairwise=measured["rewarder"]["pairwise_accuracy"],
        pairs=measured["rewarder"]["pairs"],
    )  # fmt: skip
