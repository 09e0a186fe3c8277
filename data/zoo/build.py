"""``make zoo``: rebuilds every model of the zoo from nothing, seeded. A model whose folder exists is kept.

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
from zoo.teach import teach
from zoo.tokenizer import build_tokenizer

log = logging.getLogger("zoo")


def make_member(member: Member, folder: Path) -> float:
    """Teaches one candidate and saves it; returns the seconds it took. One thread, so that a rebuild is repeatable."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    start = time.perf_counter()
    if folder.exists():
        return 0.0
    torch.set_num_threads(1)
    tokenizer = build_tokenizer()
    # Beside its place first: a build that is interrupted leaves whole models or none, and goes on where it was.
    part = folder.with_name(folder.name + ".part")
    save(teach(member, tokenizer), tokenizer, part)
    part.rename(folder)
    seconds = time.perf_counter() - start
    log.info("%s: %d steps in %.0f s", member.name, member.steps, seconds)
    return seconds


def make_members(folder: Path, work: Path, workers: int) -> None:
    """All candidates, and the reward model's body (into ``work``), the longest to teach first."""
    jobs = [(member, folder / member.name) for member in MEMBERS] + [(JUDGE, work / JUDGE.name)]
    jobs.sort(key=lambda job: -job[0].steps * job[0].shape.layers * job[0].shape.hidden ** 2)
    # A new interpreter for every worker: torch's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        list(pool.map(make_member, [job[0] for job in jobs], [job[1] for job in jobs]))


def spent(start: float) -> dict[str, float]:
    """Minutes since ``start`` by the clock, and of processor time, of this process and its workers."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu = sum(usage.ru_utime + usage.ru_stime for usage in used)
    return {"wall_minutes": (time.perf_counter() - start) / 60, "cpu_minutes": cpu / 60}


def main() -> None:
    """Builds what is missing, then measures everything and writes the cards."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("data/zoo"), help="where the models go")
    parser.add_argument("--work", type=Path, default=Path(".zoo"), help="where what is needed on the way goes")
    parser.add_argument("--workers", type=int, default=2, help="models taught at the same time, one core each")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    whole = not any((given.folder / member.name).exists() for member in MEMBERS)
    start = time.perf_counter()
    make_members(given.folder, given.work, given.workers)
    # One thread here too: repeatable, and on a busy machine several threads wait for one another most of the time.
    torch.set_num_threads(1)
    make_rewarder(given.folder, given.work)
    path = given.folder / "measured.json"
    before = json.loads(path.read_text()) if path.exists() else {}
    measured = measure(given.folder)
    # What a build took is known only of one that found nothing there.
    measured["build"] = spent(start) if whole else before.get("build")
    path.write_text(json.dumps(measured, indent=1, sort_keys=True) + "\n")
    write_cards(given.folder, measured)


if __name__ == "__main__":
    main()
