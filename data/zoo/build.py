"""`make zoo`: train every model of the zoo from scratch, seeded. A model whose folder exists is skipped.

python -m zoo.build --folder data/zoo
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import resource
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch

from zoo.cards import write_cards
from zoo.folder import save
from zoo.plan import JUDGE, MEMBERS, Member
from zoo.report import measure
from zoo.rewarder_build import make_rewarder
from zoo.teach import train_candidate
from zoo.tokenizer import build_tokenizer

log = logging.getLogger("zoo")


def make_member(member: Member, folder: Path) -> float:
    """Train one candidate and save it; return the seconds that this took, 0 if its folder exists.

    It uses one thread, so that the result is repeatable.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    start = time.perf_counter()
    if folder.exists():
        return 0.0
    torch.set_num_threads(1)
    tokenizer = build_tokenizer()
    # Renamed when complete: an interrupted build leaves no incomplete model, and the next build continues.
    partial = folder.with_name(folder.name + ".part")
    save(train_candidate(member, tokenizer), tokenizer, partial)
    partial.rename(folder)
    seconds = time.perf_counter() - start
    log.info("%s: %d steps in %.0f s", member.name, member.steps, seconds)
    return seconds


def make_members(folder: Path, work: Path, workers: int) -> None:
    """Train all candidates, and the reward model's body (into `work`), the longest training first."""
    jobs = [(member, folder / member.name) for member in MEMBERS] + [(JUDGE, work / JUDGE.name)]
    jobs.sort(key=lambda job: -job[0].steps * job[0].shape.layers * job[0].shape.hidden ** 2)
    # A new interpreter for each worker: torch's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        list(pool.map(make_member, [job[0] for job in jobs], [job[1] for job in jobs]))


def measure_elapsed(start: float) -> dict[str, float]:
    """Return the minutes since `start` by the clock, and the processor minutes of this process and its workers."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu = sum(usage.ru_utime + usage.ru_stime for usage in usages)
    return {"wall_minutes": (time.perf_counter() - start) / 60, "cpu_minutes": cpu / 60}


def main() -> None:
    """Train what is missing, then measure every model and write the cards."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("data/zoo"), help="where the models go")
    parser.add_argument("--work", type=Path, default=Path(".zoo"), help="where intermediate models go")
    parser.add_argument("--workers", type=int, default=2, help="models trained at a time, one core each")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    complete_build = not any((args.folder / member.name).exists() for member in MEMBERS)
    start = time.perf_counter()
    make_members(args.folder, args.work, args.workers)
    # One thread here too: repeatable, and faster on a busy machine, where threads wait for one another.
    torch.set_num_threads(1)
    make_rewarder(args.folder, args.work)
    path = args.folder / "measured.json"
    previous = json.loads(path.read_text()) if path.exists() else {}
    measured = measure(args.folder)
    # The duration is known only for a build that started from nothing.
    measured["build"] = measure_elapsed(start) if complete_build else previous.get("build")
    path.write_text(json.dumps(measured, indent=1, sort_keys=True) + "\n")
    write_cards(args.folder, measured)


if __name__ == "__main__":
    main()
