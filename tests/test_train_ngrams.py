"""Training with an encoder of n-grams, and everything that is done with its export."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from support.made_up import CANDIDATES, encoder_folder, rows, table
from support.paths import CONF

from zooter.commands import config, to_huggingface, train
from zooter.commands.cli import main
from zooter.data import reward_table
from zooter.data.split import Split
from zooter.errors import ConfigError, ExportError
from zooter.router import drift
from zooter.router.ngram_encoder import NgramEncoder
from zooter.router.onnx_export import ExportFormats, update_export
from zooter.router.onnx_router import OnnxRouter
from zooter.router.protocol import Router
from zooter.router.torch_router import TorchRouter

TEXTS = [str(row["query"]) for row in rows(60)]


def composed(home: Path, *overrides: str, with_ngrams: bool = True) -> dict[str, Any]:
    encoder = ["encoder=ngrams"] if with_ngrams else []
    given = [f"records={home / 'table.parquet'}", f"run_dir={home / 'run'}", f"cache_dir={home / 'cache'}",
             *encoder, "trainer=cpu", "logger=none", "net.epochs=2"]  # fmt: skip
    with initialize_config_dir(str(CONF), version_base="1.3"):
        values = OmegaConf.to_container(compose("train", [*given, *overrides]), resolve=True)
    assert isinstance(values, dict)
    return values


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train on one split; the export is in `run`."""
    folder = tmp_path_factory.mktemp("ngrams")
    table(folder / "table.parquet")
    encoder_folder(folder / "encoder")
    values = composed(folder)
    report = train.run(config.build(values), values)
    assert report is not None
    assert report["test"]["gap_closed"] > 0.5
    return folder


@pytest.fixture
def export(home: Path) -> Path:
    return home / "run" / "export"


def test_both_forms_route_alike_and_each_topic_to_its_candidate(export: Path) -> None:
    onnx, torch = Router.load(export), Router.load(export, "cpu")
    assert isinstance(onnx, OnnxRouter)
    assert isinstance(torch, TorchRouter)
    (output, tags), (expected, expected_tags) = onnx.route_with_tags(TEXTS), torch.route_with_tags(TEXTS)
    np.testing.assert_allclose(output.probs, expected.probs, atol=1e-5)
    np.testing.assert_allclose(tags, expected_tags, atol=1e-5)
    assert np.mean([choice == CANDIDATES[i // 3 % 3] for i, choice in enumerate(output.chosen_candidates())]) > 0.9
    assert onnx.route([]).probs.shape == (0, 3)
    alone = np.concatenate([onnx.route([text]).probs for text in TEXTS[:5]])
    np.testing.assert_allclose(output.probs[:5], alone, atol=1e-6)


@pytest.mark.parametrize("folds", ["null", "2"])
def test_the_report_says_beside_it_what_a_router_with_another_encoder_gives(
    home: Path, tmp_path: Path, folds: str
) -> None:
    tiny = [f"encoder.model={home / 'encoder'}", "encoder.layers=[1,2]"]
    settings = [f"folds={folds}", "export=null"]
    beside = [argument.replace("encoder.", "compare_encoder.") for argument in tiny]
    both, alone = (
        train.run(config.build(values), values)
        for values in (
            composed(home, "encoder@compare_encoder=minilm", *beside, *settings, f"run_dir={tmp_path / 'both'}"),
            composed(home, *tiny, *settings, f"run_dir={tmp_path / 'alone'}", with_ngrams=False),
        )
    )
    assert both is not None
    assert alone is not None
    assert both["test"]["intervals"]["routed, encoder"] == alone["test"]["intervals"]["routed"]
    assert both["settings"]["encoder"]["_target_"].endswith("NgramEncoder")


def test_the_encoder_learns_from_training_queries_alone(home: Path, export: Path) -> None:
    queries = reward_table.read(home / "table.parquet").queries
    part = Split().parts(queries)[0]
    learned = NgramEncoder().fit([queries[i] for i in part.train])
    exported = NgramEncoder.read(export / "encoder")
    assert exported.fingerprint == learned.fingerprint
    assert exported.fingerprint != NgramEncoder().fit(queries).fingerprint


def test_another_part_gets_an_encoder_of_its_own(home: Path) -> None:
    records = reward_table.read(home / "table.parquet")
    first, second = Split().parts(records.queries, 2)
    method = config.build(composed(home)).method
    data = method.embed(records, first, None)
    for part, each in ((first, data), (second, method.embed_again(data, second))):
        learned = NgramEncoder().fit([records.queries[i] for i in part.train])
        np.testing.assert_array_equal(each.embeddings, learned.embed(records.queries))


@pytest.mark.slow
def test_each_fold_fits_an_encoder_of_its_own(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fitted: list[tuple[str, ...]] = []
    fit = NgramEncoder.fit
    monkeypatch.setattr(NgramEncoder, "fit", lambda self, texts: fitted.append(tuple(texts)) or fit(self, texts))
    values = composed(home, "folds=2", f"run_dir={tmp_path}", "net.epochs=1", "export.onnx=false")
    train.run(config.build(values), values)
    queries, split = reward_table.read(home / "table.parquet").queries, Split()
    parts = [*split.parts(queries, 2), split.without_test(queries)]
    assert fitted == [tuple(queries[i] for i in part.train) for part in parts]
    exported = NgramEncoder.read(tmp_path / "export" / "encoder")
    assert exported.fingerprint == NgramEncoder().fit(fitted[-1]).fingerprint


def test_an_export_is_small_and_serves_without_torch_and_without_a_tokenizer(export: Path) -> None:
    assert sum(path.stat().st_size for path in export.rglob("*") if path.is_file()) < 2e6
    code = """
import sys
from zooter.router.loading import load_router
load_router(sys.argv[1]).route(["please add"])
heavy = {"torch", "transformers", "sklearn", "scipy", "tokenizers", "safetensors"} & set(sys.modules)
sys.exit(str(heavy) if heavy else 0)
"""
    process = subprocess.run([sys.executable, "-c", code, str(export)], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr


def test_it_is_inspected_and_tested_for_drift(export: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(export)]) == 0
    shown = capsys.readouterr().out
    assert "ngrams, 1200 characters of each query are read" in shown
    assert "ONNX float32" in shown
    assert not drift.detect_drift(export, TEXTS).drifted
    assert drift.detect_drift(export, [f"completely different words {i}" for i in range(40)]).drifted


def test_the_onnx_form_is_written_again(export: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(export, tmp_path / "export")
    ExportFormats().write(folder, TEXTS)
    assert json.loads((folder / "onnx" / "parity.json").read_text())["float32"]["changed_choices"] == 0.0
    (folder / "encoder" / "ngrams.npz").write_bytes(b"?")
    with pytest.raises(ExportError, match=r"encoder/ngrams\.npz has changed"):
        OnnxRouter.from_export(folder)
    with pytest.raises(ExportError, match=r"encoder/ngrams\.npz has changed"):
        update_export(folder, lambda draft, facts: None)


def test_what_it_cannot_do_is_refused_with_a_reason(home: Path, export: Path) -> None:
    with pytest.raises(ConfigError, match="n-grams has float32 alone"):
        OnnxRouter.from_export(export, precision="int8")
    with pytest.raises(ConfigError, match="set net=frozen, or encoder=minilm"):
        config.build(composed(home, "net=finetune"))
    settings = to_huggingface.ToHuggingFaceSettings(export, home / "table.parquet", home / "cache")
    with pytest.raises(ExportError, match=r"expected a BERT encoder .* found n-grams"):
        to_huggingface.run(settings)


@pytest.mark.slow
def test_a_transformer_and_ngrams_share_no_checkpoint(home: Path, tmp_path: Path) -> None:
    checkpoint = home / "run" / "checkpoints" / "last.ckpt"
    values = composed(home, f"encoder.model={home / 'encoder'}", "encoder.layers=[1,2]",
                      f"run_dir={tmp_path / 'run'}", f"ckpt_path={checkpoint}", with_ngrams=False)  # fmt: skip
    with pytest.raises(ConfigError, match="encoder was ngrams of 1200 characters"):
        train.run(config.build(values), values)
