"""The main job on a small made-up table: training, report, export, routing, resuming."""

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from rich.console import Console
from safetensors import SafetensorError
from safetensors.torch import load_file
from support.fake_server import Reply, chat, error_reply, serving
from support.made_up import CANDIDATES, encoder_folder, rows, table
from support.parsed_page import read_page
from support.paths import CONF

from zooter.commands import config, evaluate
from zooter.commands import train as training
from zooter.data import reward_table
from zooter.data.locks import exclusive
from zooter.data.split import Split
from zooter.errors import ConfigError, ExportError, RecordsError, StoreError
from zooter.router import drift, inspect, manifest
from zooter.router.encoder import Encoder
from zooter.router.onnx_export import ExportFormats
from zooter.router.protocol import Router
from zooter.router.torch_router import TorchRouter

pytestmark = pytest.mark.usefixtures("undrawn_plots")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    encoder_folder(folder / "encoder")
    table(folder / "table.parquet")
    return folder


def train(home: Path, name: str, *overrides: str) -> dict[str, Any]:
    given = [
        f"records={home / 'table.parquet'}", f"run_dir={home / name}", f"cache_dir={home / 'cache'}",
        f"encoder.model={home / 'encoder'}", "encoder.layers=[1,2]", "trainer=cpu", "net.lr=1e-3",
        "export.onnx=false", *overrides,
    ]  # fmt: skip
    with initialize_config_dir(str(CONF), version_base="1.3"):
        values = OmegaConf.to_container(compose("train", given), resolve=True)
    assert isinstance(values, dict)
    return training.run(config.build(values), values)


@pytest.fixture(scope="module")
def report(home: Path) -> dict[str, Any]:
    return train(home, "run")


def test_a_router_learns_whose_topic_a_query_is(report: dict[str, Any]) -> None:
    test = report["test"]
    assert test["routed"] > test["best_single"] + 0.2
    assert test["gap_closed"] > 0.5
    assert test["gap_closed_ci"][0] < test["gap_closed"] < test["gap_closed_ci"][1]


def test_a_run_leaves_a_report_plots_and_an_export(home: Path, report: dict[str, Any]) -> None:
    folder = home / "run"
    assert json.loads((folder / "report.json").read_text())["test"] == report["test"]
    assert "| routed (ours) |" in (folder / "report.md").read_text()
    assert {path.name for path in (folder / "plots").iterdir()} >= {"methods.png", "tags.png", "calibration.png"}
    assert not list(folder.rglob(".*")), "a draft was left"


def test_the_page_of_a_run_has_its_plots_and_examples_of_test_queries(home: Path, report: dict[str, Any]) -> None:
    page = read_page((home / "run" / "report.html").read_text())
    assert len(page.addresses) == 4  # without a truth, no figure of entropy
    recorded = {(row["query"], row["candidate"]): row["reward"] for row in rows()}
    queries = reward_table.read(home / "table.parquet").queries
    test = {queries[i] for i in Split().parts(queries)[0].test}
    examples = report["examples"]["rows"]
    assert len(examples) == min(20, report["examples"]["differing"]) > 5
    for row in examples:
        assert row["query"] in test
        assert recorded[row["query"], row["routed"]] == row["routed_reward"]
        assert recorded[row["query"], row["best_single"]] == row["best_single_reward"]
        assert row["best_single"] == report["test"]["best_single_name"]
        assert row["query"] in page.text
    for tag in report["choices_by_tag"]:
        assert sum(tag["chosen"].values()) == pytest.approx(1.0)


def test_the_report_has_the_agreed_keys(report: dict[str, Any]) -> None:
    agreed = {"queries", "routed", "random", "best_single", "best_single_name", "per_tag_best", "knn", "oracle"}
    assert agreed | {"gap_closed", "gap_closed_ci"} <= report["test"].keys()


def test_the_report_has_the_validation_score_that_sweepers_get(home: Path, report: dict[str, Any]) -> None:
    part = Split().parts(reward_table.read(home / "table.parquet").queries)[0]
    validation = report["validation"]
    assert validation["queries"] == len(part.val)
    assert validation["best_single"] < validation["reward"] <= validation["oracle"]
    assert validation["gap_closed"] > 0.5


def test_the_report_says_why_the_router_leaves_the_best_single_model(home: Path, report: dict[str, Any]) -> None:
    chosen = json.loads((home / "run" / "report.json").read_text())["chosen"]
    gate = chosen["evidence"]
    assert chosen["routes"]
    assert gate["gain"] > gate["threshold"] * gate["standard_error"] > 0.0
    assert 0.0 < gate["share_rerouted"] <= 1.0
    assert gate["candidates"].keys() == set(CANDIDATES)
    for name, evidence in gate["candidates"].items():
        if name != report["test"]["best_single_name"]:
            clears = evidence["slope"] > gate["threshold"] * evidence["standard_error"]
            assert (evidence["weight"] > 0.0) == clears


def test_selectors_are_compared_with_the_exported_router_on_the_same_test_queries(home: Path) -> None:
    selector = "+selectors.told={_target_: zooter.selector.baseline.per_tag_best.PerTagBestSelector}"
    report = train(home, "beside", selector, "net.epochs=1")
    compared, test = report["compared"], report["test"]
    assert list(compared["selectors"]) == ["best_single", "oracle", "routed", "told"]
    assert compared["queries"] == test["queries"]
    for name, method in (("routed", "routed"), ("best_single", "best_single"), ("told", "per_tag_best")):
        assert compared["selectors"][name]["quality"]["mean"] == pytest.approx(test[method])
    assert (home / "beside" / "compared" / "decisions.parquet").exists()
    assert "[Selectors compared](compared/report.md): best_single" in (home / "beside" / "report.md").read_text()
    split = json.loads((home / "beside" / "export" / "manifest.json").read_text())["split"]
    assert split == {"val": 0.1, "test": 0.2, "salt": "0", "folds": None}


def test_selectors_are_not_compared_with_a_router_that_saw_all_queries(home: Path) -> None:
    with pytest.raises(ConfigError, match="expected one split, to compare selectors with the exported router"):
        train(home, "beside", "+selectors.one={_target_: zooter.selector.baseline.single.SingleSelector}", "folds=2")


def test_an_export_routes_as_the_net_that_was_trained(home: Path, report: dict[str, Any]) -> None:
    router = TorchRouter.from_export(home / "run" / "export", device="cpu")
    table = reward_table.read(home / "table.parquet")
    choices = router.route(table.queries)
    np.testing.assert_allclose(choices.probs.sum(axis=1), 1.0)
    test = Split().parts(table.queries)[0].test
    column = [CANDIDATES.index(name) for name in np.array(choices.chosen_candidates())[test]]
    order = [table.pool.names.index(name) for name in CANDIDATES]
    obtained = table.rewards.values[test, np.array(order)[column]]
    assert obtained.mean() == pytest.approx(report["test"]["routed"])


def test_routing_does_not_depend_on_the_batch(home: Path, report: dict[str, Any]) -> None:
    router = TorchRouter.from_export(home / "run" / "export", device="cpu")
    texts = ["please add sum", "poem", "please court judge law verse rhyme"]
    together = router.route(texts).probs
    np.testing.assert_allclose(together, np.concatenate([router.route([text]).probs for text in texts]), atol=1e-6)


def test_the_same_seed_gives_the_same_router(home: Path, report: dict[str, Any]) -> None:
    assert train(home, "again")["test"] == report["test"]


def test_folds_test_every_query_once(home: Path) -> None:
    report = train(home, "folds", "folds=2", "tagger=none")
    assert report["test"]["queries"] == 240
    assert (home / "folds" / "export" / "manifest.json").is_file()


def test_every_objective_trains(home: Path) -> None:
    for name in ("reverse_kl", "expected_reward", "cross_entropy", "bradley_terry"):
        report = train(home, name, f"objective={name}", "net.epochs=3")
        assert report["test"]["routed"] > report["test"]["random"], name


def test_a_router_is_trained_from_battles_and_reported_in_win_rates(home: Path) -> None:
    answers, battles = rows(), []
    for i in range(0, len(answers), 3):  # the three answers to a query; two of them meet
        first, second = answers[i + i // 9 % 3], answers[i + (1 + i // 9) % 3]
        gain = float(str(first["reward"])) - float(str(second["reward"]))
        winner = "tie" if gain == 0 else "model_a" if gain > 0 else "model_b"
        pair = {"model_a": first["candidate"], "model_b": second["candidate"], "winner": winner}
        battles.append({"prompt": first["query"], **pair})
    path = home / "battles.jsonl"
    path.write_text("".join(json.dumps(battle) + "\n" for battle in battles))
    test = train(home, "battles", f"records={path}", "format=arena", "objective=bradley_terry", "net.epochs=3")["test"]
    assert test["win_rate"]["routed"] == pytest.approx(test["routed"] + 0.5)
    assert test["win_rate"]["random"] == 0.5
    assert 0.6 < test["win_rate"]["routed"] <= test["win_rate"]["oracle"] < 1


def test_finetuning_trains_the_encoder_and_exports_it(home: Path) -> None:
    report = train(home, "finetune", "net=finetune", "net.epochs=2", "net.lr=1e-3")
    assert report["test"]["gap_closed"] > 0.3
    export = home / "finetune" / "export"
    before = (home / "encoder" / "model.safetensors").read_bytes()
    assert (export / "encoder" / "model.safetensors").read_bytes() != before
    router = TorchRouter.from_export(export, device="cpu")
    assert sum(router.route(["please add sum plus"]).probs[0]) == pytest.approx(1.0)


def test_finetuning_in_mixed_precision_learns_too(home: Path) -> None:
    report = train(home, "mixed", "net=finetune", "net.epochs=2", "net.lr=1e-3", "trainer.precision=bf16-mixed")
    assert report["test"]["gap_closed"] > 0.3


def test_an_interrupted_run_goes_on_where_it_stopped(home: Path) -> None:
    several_steps = ("net.patience=9", "net.batch_size=32")
    whole = train(home, "whole", "net.epochs=4", *several_steps)
    train(home, "half", "net.epochs=2", *several_steps)
    logged = (home / "half" / "metrics" / "metrics.csv").read_text()
    rest = train(home, "half", "net.epochs=4", f"ckpt_path={home}/half/checkpoints/last.ckpt", *several_steps)
    assert rest["fit"] == whole["fit"]
    assert rest["test"] == whole["test"]
    weights, resumed = (load_file(home / name / "export" / "head.safetensors") for name in ("whole", "half"))
    for name, values in weights.items():
        assert torch.equal(resumed[name], values), name
    logged_rows = csv_rows((home / "half" / "metrics" / "metrics.csv").read_text())
    assert logged_rows[: len(csv_rows(logged))] == csv_rows(logged)
    epochs = [row["epoch"] for row in logged_rows if row["val/loss"]]
    assert epochs == ["0", "1", "2", "3"]


def csv_rows(text: str) -> list[dict[str, str]]:
    """Read the rows of a CSV file, whatever the order of its columns."""
    return list(csv.DictReader(text.splitlines()))


def test_a_checkpoint_of_other_settings_is_refused_with_the_old_and_the_new_values(home: Path) -> None:
    train(home, "narrow", "net.width=8", "net.epochs=1", "label.beta=0.3")
    last = home / "narrow" / "checkpoints" / "last.ckpt"
    changes = [
        "split.salt=other", "encoder.layers=[2]", "label.beta=0.9", "objective=reverse_kl", "net.width=16",
        "trainer.gradient_clip_val=2.0", "seed=1", "net.epochs=2",
    ]  # fmt: skip
    differences = [
        r"split was \d+ training and \d+ validation queries \(.*\) and is .*",
        r"encoder was encoder of 256 tokens, layers \(1, 2\).* and is .*layers \(2,\).*",
        "label.beta was 0.3 and is 0.9",
        "objective was ForwardKL and is ReverseKL",
        "objective.floor was None and is 0.0001",
        "net.width was 8 and is 16",  # and the number of epochs may change
        "trainer.gradient_clip_val was 1.0 and is 2.0",
        "seed was 0 and is 1",
    ]
    message = rf"the settings that .*last\.ckpt was written with; found {'; '.join(differences)}; resume with"
    with pytest.raises(ConfigError, match=message):
        train(home, "resumed", "net.width=8", "label.beta=0.3", *changes, f"ckpt_path={last}")


def test_a_checkpoint_of_another_table_is_refused(home: Path, tmp_path: Path) -> None:
    train(home, "small", f"records={table(tmp_path / 'small.parquet', 60)}", "net.epochs=1")
    with pytest.raises(ConfigError, match=r"found data was 60 queries, 3 candidates, 3 tags .* and is 240 queries"):
        train(home, "large", f"ckpt_path={home}/small/checkpoints/last.ckpt")


def test_a_file_that_is_no_checkpoint_is_refused_before_the_table_is_read(home: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text("{oops")
    with pytest.raises(ConfigError, match=r"ckpt_path to be a checkpoint of zooter: .*none\.ckpt; found no such file"):
        train(home, "never", f"records={tmp_path / 'bad.jsonl'}", f"ckpt_path={tmp_path / 'none.ckpt'}")


def test_a_table_without_tags_is_clustered(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "untagged.jsonl"
    path.write_text("".join(json.dumps({k: v for k, v in row.items() if k != "tags"}) + "\n" for row in rows()))
    report = train(home, "untagged", f"records={path}")
    assert report["test"]["gap_closed"] > 0.3
    assert all(row["tag"][:2].isdigit() for row in report["test"]["tags"])


def test_missing_cells_are_masked_everywhere(home: Path, tmp_path: Path) -> None:
    sparse = [row for i, row in enumerate(rows()) if i % 4 or row["candidate"] == "poet"]
    pq.write_table(pa.Table.from_pylist(sparse), tmp_path / "holes.parquet")
    report = train(home, "holes", f"records={tmp_path / 'holes.parquet'}")
    assert report["data"]["missing_cells"] == 3 * 240 - len(sparse)
    assert report["test"]["gap_closed"] > 0.3
    assert "NaN" not in (home / "holes" / "report.json").read_text()


def test_rewards_train_and_the_truth_measures(home: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    noisy = [
        {**row, "truth": row["reward"], "reward": float(rng.random() < 0.3) if rng.random() < 0.5 else row["reward"]}
        for row in rows()
    ]
    pq.write_table(pa.Table.from_pylist(noisy), tmp_path / "truth.parquet")
    package = "zooter.selector.baseline"
    selectors = [
        f"+selectors.near={{_target_: {package}.knn.KnnSelector}}", "+selectors.near.encoder=${encoder}",
        f"+selectors.tagged={{_target_: {package}.per_tag_best.PerTagBestSelector}}",
        f"+selectors.drawn={{_target_: {package}.random.RandomSelector}}",
        "+selectors.ranked={_target_: zooter.selector.voting.best_of.BestOfSelector}",
    ]  # fmt: skip
    report = train(home, "truth", f"records={tmp_path / 'truth.parquet'}", "compare_beta=[1.0]", *selectors)
    compared = report["compared"]["selectors"]
    methods = {"near": "knn", "tagged": "per_tag_best", "drawn": "random", "ranked": "ranking"}
    for name, method in {**methods, "best_single": "best_single", "oracle": "oracle", "routed": "routed"}.items():
        assert compared[name]["quality"]["mean"] == pytest.approx(report["test"][method]), "one definition, one figure"
    assert report["test"]["measured_by"] == report["compared"]["measured_by"] == "truth"
    table = reward_table.read(tmp_path / "truth.parquet")
    assert table.truth is not None
    test = Split().parts(table.queries)[0].test
    assert report["test"]["oracle"] == pytest.approx(table.truth.values[test].max(axis=1).mean())
    ranked = table.truth.values[test, np.argmax(table.rewards.values[test], axis=1)].mean()
    assert report["test"]["ranking"] == pytest.approx(ranked, abs=0.15)  # ties go to the strongest, not to the first
    assert report["test"]["routed"] > report["test"]["ranking"]
    assert "routed, β = 1" in report["test"]["intervals"]


def test_bad_input_leaves_an_earlier_run_as_it_was(home: Path, report: dict[str, Any], tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in sorted((home / "run").rglob("*")) if path.is_file()}
    (tmp_path / "bad.jsonl").write_text('{"query": "a", "candidate": "x", "reward": 1}\n{oops\n')
    with pytest.raises(RecordsError, match="line 2"):
        train(home, "run", f"records={tmp_path / 'bad.jsonl'}")
    assert {path: path.read_bytes() for path in sorted((home / "run").rglob("*")) if path.is_file()} == before


def test_folds_and_a_checkpoint_do_not_go_together(home: Path) -> None:
    with pytest.raises(ConfigError, match="ckpt_path with one split"):
        train(home, "never", "folds=3", "ckpt_path=some.ckpt")


def test_wandb_offline_gets_plots_report_and_export_and_needs_neither_key_nor_network(
    home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    train(home, "wandb", "logger=wandb", "net.epochs=1")
    import wandb

    assert wandb.run is None, "the run was left open"
    wandb.teardown()  # its service writes the last records when it ends
    (logged,) = (home / "wandb").glob("wandb/offline-run-*/*.wandb")
    run_id, written = logged.stem.removeprefix("run-"), logged.read_bytes()
    for name in (f"report-{run_id}", f"export-{run_id}"):
        assert name.encode() in written, f"no artifact {name}"
    for name in ("report.json", "report.md", "plots/methods.png", "export/head.safetensors", "export/pool.json"):
        assert str(home / "wandb" / name).encode() in written, f"{name} is in no artifact"
    images = {path.name.partition("_")[0] for path in logged.parent.glob("files/media/images/plots/*.png")}
    assert images == {"methods", "tags", "calibration", "choices"}
    assert not list((tmp_path / ".local").rglob("*.safetensors")), "the export was copied"


CANARY = "canary-77aa31f0"


def scolding(body: dict[str, Any], number: int) -> Reply:
    """A server that repeats the key in one complaint, and else says the first word of what it is asked."""
    text = body["messages"][-1]["content"]
    return error_reply(400, f"key {CANARY} may not ask this") if "number 7" in text else chat(text.split()[0])


def test_no_file_of_a_live_run_with_wandb_holds_a_key(
    home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Weights & Biases gets all settings and looks at the process by itself: everything written is searched."""
    import wandb

    wandb.teardown()  # its service has the environment that it was started with
    for name in ("CANARY_KEY", "OPENAI_API_KEY"):
        monkeypatch.setenv(name, CANARY)
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    lines = [{"query": f"{['left', 'right'][i % 2]} number {i}", "reference": "left"} for i in range(60)]
    (tmp_path / "queries.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with serving(scolding) as server:
        who = f"{{url: '{server.url}', key_env: CANARY_KEY, model: told-by-its-name}}"
        train(
            home, "records-not-used", "records=null", "reader=file", f"queries={tmp_path / 'queries.jsonl'}",
            "pool=any", f"+pool.candidates.one={who}", f"+pool.candidates.two={who}", "responder=openai",
            "responder.backoff=0.001", "cells.max_failures=0.5", "rewarder=verify", "rewarder.method=exact",
            "logger=wandb", f"run_dir={tmp_path / 'run'}", f"cache_dir={tmp_path / 'cache'}", "net.epochs=1",
        )  # fmt: skip
        assert server.headers[0]["authorization"] == f"Bearer {CANARY}"
    wandb.teardown()
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    tables = "".join(str(pq.read_table(path).to_pylist()) for path in files if path.suffix == ".parquet")
    assert "key *** may not ask this" in tables
    (logged,) = [data for path, data in files.items() if path.suffix == ".wandb"]
    assert b"told-by-its-name" in logged, "the settings are not in the file, or not as plain text"
    assert not [path for path, data in files.items() if CANARY.encode() in data]
    assert CANARY not in tables


@pytest.fixture
def export(home: Path, report: dict[str, Any], tmp_path: Path) -> Path:
    import shutil

    return Path(shutil.copytree(home / "run" / "export", tmp_path / "export"))


@pytest.mark.parametrize("name", ["head.safetensors", "encoder/model.safetensors", "pool.json", "reference.json"])
def test_an_export_with_a_changed_or_missing_file_is_refused(export: Path, name: str) -> None:
    data = bytearray((export / name).read_bytes())
    data[len(data) // 2] ^= 1
    (export / name).write_bytes(bytes(data))
    with pytest.raises(ExportError, match=f"{name} has changed"):
        TorchRouter.from_export(export)
    (export / name).unlink()
    with pytest.raises(ExportError, match=f"{name} is missing"):
        TorchRouter.from_export(export)


def test_an_export_with_the_pool_of_another_is_refused(export: Path) -> None:
    pool = json.loads((export / "pool.json").read_text())
    pool["candidates"] = pool["candidates"][::-1]
    (export / "pool.json").write_text(json.dumps(pool))
    facts = json.loads((export / "manifest.json").read_text())
    manifest.write(export, {key: facts[key] for key in ("encoder", "pool")})  # as somebody would who mixes two exports
    with pytest.raises(ExportError, match="trained for another pool"):
        TorchRouter.from_export(export)


def test_a_folder_that_is_no_export_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"no manifest\.json"):
        TorchRouter.from_export(tmp_path)


def test_an_empty_query_is_not_routed(home: Path, report: dict[str, Any]) -> None:
    with pytest.raises(RecordsError, match="an empty one at row 2"):
        TorchRouter.from_export(home / "run" / "export").route(["please add", " \n"])


def test_the_card_names_the_candidates_and_the_figures(home: Path, report: dict[str, Any]) -> None:
    card = (home / "run" / "export" / "README.md").read_text()
    assert all(name in card for name in CANDIDATES)
    assert f"{report['test']['gap_closed']:.1%}" in card


def test_reference_embeddings_are_those_of_training_queries(home: Path, report: dict[str, Any]) -> None:
    embeddings = load_file(home / "run" / "export" / "reference.safetensors")["embeddings"]
    assert embeddings.dtype == torch.float16
    reference = json.loads((home / "run" / "export" / "reference.json").read_text())
    assert sum(reference["choices"].values()) == pytest.approx(1.0)
    assert len(embeddings) <= reference["queries"]


# -- live runs


def live(home: Path, name: str, *overrides: str) -> dict[str, Any] | None:
    """Recorded responses stand in for the candidates; a right one says the word of its query's reference."""
    recorded = rows(120)
    replayed = [{**row, "response": "yes" if row["reward"] else "no", "reference": "yes"} for row in recorded]
    pq.write_table(pa.Table.from_pylist(replayed), home / "replayed.parquet")
    return train(
        home, name, "records=null", "reader=file", f"queries={home / 'replayed.parquet'}", "pool=any",
        *(f"+pool.candidates.{candidate}={{price: 1.0}}" for candidate in CANDIDATES),
        "responder=replay", f"responder.recorded={home / 'replayed.parquet'}", "rewarder=verify",
        "rewarder.method=exact", *overrides,
    )  # fmt: skip


def test_a_live_run_trains_from_what_it_records(home: Path) -> None:
    report = live(home, "live")
    assert report is not None
    assert report["data"]["path"] == str(home / "live" / "records.parquet")
    assert report["test"]["routed"] > report["test"]["best_single"]
    assert json.loads((home / "live" / "export" / "pool.json").read_text())["candidates"][0] == {
        "name": "calculator", "price": 1.0,
    }  # fmt: skip


@pytest.mark.parametrize("until", ["respond", "reward"])
def test_a_live_run_stops_after_a_stage_with_its_table(home: Path, until: str) -> None:
    assert live(home, until, f"until={until}") is None
    rewards = pq.read_table(home / until / "records.parquet")["reward"]
    assert rewards.null_count == (len(rewards) if until == "respond" else 0)
    assert not (home / until / "export").exists()


def test_another_tools_table_is_imported_into_the_run(home: Path, tmp_path: Path) -> None:
    lines = [f"please add plus {i},{i % 2},{1 - i % 2}" for i in range(60)]
    (tmp_path / "evals.csv").write_text("question,small,large\n" + "\n".join(lines) + "\n")
    train(home, "imported", f"records={tmp_path / 'evals.csv'}", "format=auto", "until=label", "tagger=none")
    assert pq.read_table(home / "imported" / "records.parquet").num_rows == 120
    assert pq.read_table(home / "imported" / "labels.parquet").num_rows == 120


@pytest.mark.parametrize("until", ["tag", "label"])
def test_tags_and_labels_are_a_table_for_those_who_stop_there(home: Path, until: str) -> None:
    assert train(home, until, f"until={until}") is None
    labels = pq.read_table(home / until / "labels.parquet")
    assert labels.num_rows == 240 * len(CANDIDATES)
    assert set(labels["part"].to_pylist()) == {"train", "val", "test"}
    assert labels["tags"][0].as_py() == ["arithmetic"]
    if until == "tag":
        assert labels["label"].null_count == labels.num_rows
    else:
        sums = labels.group_by("query_id").aggregate([("label", "sum")])["label_sum"].to_numpy()
        np.testing.assert_allclose(sums, 1.0)


def test_a_live_run_without_its_parts_is_refused(home: Path) -> None:
    with pytest.raises(ConfigError, match="a reader, a pool and a responder"):
        train(home, "bad", "records=null", "reader=file")
    with pytest.raises(ConfigError, match=r"either records=FILE or a reader=…; found both"):
        train(home, "bad", "reader=file")
    with pytest.raises(ConfigError, match="until to be 'respond', 'reward', 'tag' or 'label'"):
        train(home, "bad", "until=later")
    with pytest.raises(ConfigError, match="choose rewarder=…, or stop with until=respond"):
        train(home, "bad", "records=null", "reader=file", "pool=any", "responder=replay")


def test_a_router_says_the_reward_that_it_expects_of_every_candidate(home: Path, report: dict[str, Any]) -> None:
    router = TorchRouter.from_export(home / "run" / "export", device="cpu")
    choices = router.route(["please add sum plus digits 7", "please rhyme poem verse stanza 8"])
    assert choices.rewards is not None
    assert choices.rewards.argmax(axis=1).tolist() == choices.probs.argmax(axis=1).tolist()
    assert 0.6 < choices.rewards.max() < 1.3  # nine of ten are right


def test_temperature_scaling_makes_the_probabilities_of_the_best_candidate_better(report: dict[str, Any]) -> None:
    calibration = report["test"]["calibration"]
    assert calibration["error"] < calibration["error_before"]


def test_where_no_query_tells_candidates_apart_the_best_single_model_answers_all(home: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    noise = [{**row, "reward": float(rng.random() < (0.6 if row["candidate"] == "poet" else 0.3))} for row in rows(120)]
    pq.write_table(pa.Table.from_pylist(noise), tmp_path / "noise.parquet")
    noise_report = train(home, "noise", f"records={tmp_path / 'noise.parquet'}")
    test, chosen = noise_report["test"], noise_report["chosen"]
    assert test["candidates"]["poet"]["share"] == pytest.approx(1.0)
    assert test["over_best_single"]["mean"] == pytest.approx(0.0)
    assert not chosen["routes"]
    assert noise_report["fit"]["steps"] == 0, "trained for a router that does not route"
    reason = "the best single model answers every query, for no other's advantage can be foretold"
    assert texts_about_choices(home / "noise", reason) == [True, True, True]


def texts_about_choices(run: Path, sentence: str) -> list[bool]:
    """Say whether the report, the export's card and `zooter inspect` hold a sentence."""
    console = Console(width=400, file=io.StringIO())
    console.print(inspect.describe(run / "export"))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    texts = [(run / "report.md").read_text(), (run / "export" / "README.md").read_text(), shown]
    return [sentence in text for text in texts]


def test_what_was_chosen_stands_in_report_card_manifest_and_inspect(home: Path, report: dict[str, Any]) -> None:
    chosen = json.loads((home / "run" / "report.json").read_text())["chosen"]
    assert json.loads((home / "run" / "export" / "manifest.json").read_text())["chosen"] == chosen
    assert chosen["routes"]
    assert 0.0 <= chosen["beta"] <= 1.0
    assert chosen["temperature"] == 2.5
    assert chosen["beta"] == chosen["residual"]
    sentence = f"{chosen['beta']:.3g} and 2.5"
    assert texts_about_choices(home / "run", sentence) == [True, True, True]
    assert texts_about_choices(home / "run", "the router chooses for each query") == [True, True, True]


def test_beta_and_temperature_are_chosen_in_the_training_part(home: Path) -> None:
    for beta in ("auto", "per_tag"):
        report = train(home, f"chosen {beta}", f"label.beta={beta}", "label.temperature=auto")
        assert report["test"]["gap_closed"] > 0.5


def test_new_topics_are_drift_and_the_same_topics_are_not(home: Path, report: dict[str, Any]) -> None:
    export = home / "run" / "export"
    alike = [str(row["query"]) for row in rows(90, seed=5)[::3]]
    report_of_alike = drift.detect_drift(export, alike, device="cpu")
    assert not report_of_alike.drifted
    assert report_of_alike.choices_moved < 0.3
    assert drift.detect_drift(export, ["please court judge law"] * 40, device="cpu").drifted
    with pytest.raises(RecordsError, match="at least 20 queries"):
        drift.detect_drift(export, alike[:3], device="cpu")


def test_steps_that_only_do_harm_leave_the_start_as_it_was(home: Path) -> None:
    report = train(home, "wild", "net.lr=100", "net.epochs=2")
    assert report["fit"]["best_epoch"] == 0
    assert report["test"]["gap_closed"] > 0.5


# -- refused early, or without losing what is done


def refuse_to_embed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make training fail at its first costly step, so that a refusal has to come before it."""

    def embed(*_: object) -> None:
        raise AssertionError("queries were embedded before the refusal")

    monkeypatch.setattr(Encoder, "embed", embed)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["+selectors.margin={_target_: zooter.selector.cascade.margin.MarginSelector}"],
            "expected margins or first tokens of",
        ),
        (["+selector@selectors.moa=moa"], "live candidates for a selector that writes messages of its own"),
        (["seed=-1"], "expected seed to be greater than or equal to 0; found -1"),
        (["trainer=gpu"], "expected a trainer that this machine can run"),
        (["trainer.precision=lots"], "expected a trainer that this machine can run"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_training(
    home: Path, monkeypatch: pytest.MonkeyPatch, overrides: list[str], message: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    refuse_to_embed(monkeypatch)
    with pytest.raises((ConfigError, RecordsError), match=message):
        train(home, "refused", *overrides)
    assert not (home / "refused").exists(), "a folder of a refused run was left"


def test_rewards_that_no_float32_holds_are_refused(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_to_embed(monkeypatch)
    large = [{**row, "reward": 1e300 if i == 4 else row["reward"]} for i, row in enumerate(rows(60))]
    pq.write_table(pa.Table.from_pylist(large), tmp_path / "large.parquet")
    with pytest.raises(RecordsError, match=r"rewards between -1e\+09 and 1e\+09; found 1e\+300 of poet for the query"):
        train(home, "refused", f"records={tmp_path / 'large.parquet'}")


def test_a_truth_on_a_few_test_queries_is_refused(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_to_embed(monkeypatch)
    few = [{**row, "truth": row["reward"] if i < 3 * 8 else None} for i, row in enumerate(rows())]
    pq.write_table(pa.Table.from_pylist(few), tmp_path / "few.parquet")
    with pytest.raises(RecordsError, match=r"expected a truth for 10 test queries or more, .*; found [0-8] of"):
        train(home, "refused", f"records={tmp_path / 'few.parquet'}")


def test_a_comparison_that_fails_costs_neither_the_report_nor_the_export(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RecordsError(expected="something", found="nothing", do="look")

    monkeypatch.setattr(evaluate, "run", fail)
    monkeypatch.setattr(ExportFormats, "write", lambda formats, folder, *_: (folder / "onnx").mkdir())
    with pytest.raises(RecordsError, match="expected something"):
        train(home, "failing", "+selectors.told={_target_: zooter.selector.baseline.single.SingleSelector}",
              "net.epochs=1")  # fmt: skip
    assert json.loads((home / "failing" / "report.json").read_text())["test"]["queries"]
    assert (home / "failing" / "export" / "onnx").is_dir()


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), SafetensorError("No space left on device")])
def test_a_disk_that_fills_at_export_costs_neither_the_report_nor_an_earlier_export(
    home: Path, report: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception
) -> None:
    import shutil

    shutil.copytree(home / "run", tmp_path / "run")
    before = (tmp_path / "run" / "export" / "manifest.json").read_bytes()

    def full(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(manifest, "write", full)
    with pytest.raises(ExportError, match=r"expected to write the export .*; found No space left on device"):
        train(home, "full", f"run_dir={tmp_path / 'run'}", "net.epochs=1")
    assert json.loads((tmp_path / "run" / "report.json").read_text())["fit"]["epochs"] == 1
    assert (tmp_path / "run" / "export" / "manifest.json").read_bytes() == before
    assert not list(tmp_path.rglob(".*")), "a draft or a lock was left"


def test_a_run_without_an_export_leaves_none_of_an_earlier_run(home: Path) -> None:
    train(home, "again", "net.epochs=1")
    assert (home / "again" / "export").is_dir()
    train(home, "again", "net.epochs=2", "export=null")
    assert json.loads((home / "again" / "report.json").read_text())["settings"]["export"] is None
    assert not (home / "again" / "export").exists()
    with pytest.raises(ConfigError, match="expected an export, to compare selectors with"):
        train(home, "again", "export=null", "+selector@selectors.single=single")


def test_a_second_run_in_a_run_folder_is_refused_while_the_first_one_runs(home: Path) -> None:
    with (
        exclusive(home / "shared", "run folder"),
        pytest.raises(StoreError, match=rf"found held by process {os.getpid()} on .* since 20"),
    ):
        train(home, "shared")


def test_a_run_folder_that_cannot_be_made_is_refused(home: Path) -> None:
    with pytest.raises(StoreError, match="expected a run folder that can be written"):
        train(home, "table.parquet/run")


def test_one_text_in_place_of_a_list_is_refused(home: Path, report: dict[str, Any]) -> None:
    router = Router.load(home / "run" / "export")
    for route in (router.route, router.route_with_tags):
        with pytest.raises(RecordsError, match="expected a list of texts; found one text, 'hi'"):
            route("hi")
