"""The router without torch: the same output from ONNX, on any text, from any thread."""

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.made_up import CANDIDATES, rows

from zooter.commands.cli import main
from zooter.errors import ConfigError, ExportError, RecordsError
from zooter.router import manifest
from zooter.router.model_inputs import BATCH_TOKENS
from zooter.router.onnx_router import OnnxRouter
from zooter.router.torch_router import TorchRouter

AWKWARD = ["\x00", "👩‍👩‍👧‍👦🏳️‍🌈", "مرحبا يا عالم", "a\ud83d b", "\u202eabc", "x" * 100_000, "word " * 20_000, "\u200b"]


@pytest.fixture(scope="module")
def router(export: Path) -> OnnxRouter:
    return OnnxRouter.from_export(export, precision="float32")


@pytest.fixture(scope="module")
def torch_router(export: Path) -> TorchRouter:
    return TorchRouter.from_export(export, device="cpu")


def test_it_routes_as_the_torch_router_does(router: OnnxRouter, torch_router: TorchRouter) -> None:
    texts = [str(row["query"]) for row in rows(60)]
    expected, actual = torch_router.route(texts), router.route(texts)
    assert actual.chosen_candidates() == expected.chosen_candidates()
    assert actual.candidates == expected.candidates == tuple(sorted(CANDIDATES))
    np.testing.assert_allclose(actual.probs, expected.probs, atol=1e-5)
    assert actual.rewards is not None
    assert expected.rewards is not None
    np.testing.assert_allclose(actual.rewards, expected.rewards, atol=1e-5)


@given(st.text(st.characters(), min_size=1) | st.sampled_from(AWKWARD))
def test_any_text_is_routed_as_torch_routes_it_or_refused_by_both(
    router: OnnxRouter, torch_router: TorchRouter, text: str
) -> None:
    if not text.strip():
        for each_router in (router, torch_router):
            with pytest.raises(RecordsError, match="an empty one at row 1"):
                each_router.route([text])
        return
    np.testing.assert_allclose(router.route([text]).probs, torch_router.route([text]).probs, atol=1e-5)


def test_an_encoders_prefix_is_put_before_texts_by_both_forms(export: Path, tmp_path: Path) -> None:
    shutil.copytree(export, tmp_path / "export")
    written = tmp_path / "export" / manifest.FILE
    facts = json.loads(written.read_text(encoding="utf-8"))
    assert facts["encoder"]["prefix"] == ""
    facts["encoder"]["prefix"] = "sonnet stanza "
    written.write_text(json.dumps(facts), encoding="utf-8")
    texts = [str(row["query"]) for row in rows(6)]
    by_torch = TorchRouter.from_export(tmp_path / "export", device="cpu").route(texts).probs
    by_onnx = OnnxRouter.from_export(tmp_path / "export", precision="float32").route(texts).probs
    np.testing.assert_allclose(by_onnx, by_torch, atol=1e-5)
    assert np.abs(by_torch - TorchRouter.from_export(export, device="cpu").route(texts).probs).max() > 0.01


def test_tags_come_with_their_names(router: OnnxRouter) -> None:
    output, tags = router.route_with_tags(["please add sum plus digits", "please rhyme poem verse sonnet"])
    assert set(router.tag_names) == {"arithmetic", "poetry", "law"}
    assert [router.tag_names[j] for j in tags.argmax(axis=1)] == ["arithmetic", "poetry"]
    assert output.chosen_candidates() == ["calculator", "poet"]


def test_batches_of_all_lengths_come_back_in_order(router: OnnxRouter) -> None:
    texts = [f"please {'add ' * length}" for length in (300, 1, 40, 7, 250, 3)] * 12
    assert 256 * len(texts) > BATCH_TOKENS, "one batch holds them all"
    alone = np.concatenate([router.route([text]).probs for text in texts[:6]])
    np.testing.assert_allclose(router.route(texts).probs, np.tile(alone, (12, 1)), atol=1e-5)
    assert router.route([]).probs.shape == (0, 3)


def test_threads_share_one_router(router: OnnxRouter) -> None:
    texts = [[f"please {word} {i}" for word in ("sum", "verse", "judge")] * (1 + i % 3) for i in range(40)]
    expected = [router.route(batch).probs for batch in texts]
    with ThreadPoolExecutor(8) as pool:
        for probs, single in zip(pool.map(lambda batch: router.route(batch).probs, texts), expected, strict=True):
            np.testing.assert_array_equal(probs, single)


def test_int8_is_the_default_where_its_choices_are_worth_no_less(export: Path) -> None:
    parity = json.loads((export / "onnx" / "parity.json").read_text())
    assert parity["float32"]["largest_probability_difference"] < 1e-5
    assert parity["int8"]["rewarded_queries"] == parity["int8"]["queries"]
    assert (parity["int8"]["reward_difference_ci"][1] >= 0.0) == (parity["default"] == "int8")
    assert OnnxRouter.from_export(export).precision == parity["default"]
    assert OnnxRouter.from_export(export).facts["onnx"]["default"] == parity["default"]


def test_serving_imports_nothing_heavy(export: Path) -> None:
    code = """
import sys
from zooter.router.onnx_router import OnnxRouter
OnnxRouter.from_export(sys.argv[1]).route(["please add"])
heavy = {"torch", "transformers", "pytorch_lightning", "hydra", "omegaconf", "sklearn", "scipy", "pyarrow", "onnx"}
sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)
"""
    process = subprocess.run([sys.executable, "-c", code, str(export)], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr


def test_files_that_serving_reads_must_be_whole_and_others_may_be_missing(export: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(export, tmp_path / "export")
    shutil.rmtree(folder / "encoder")
    OnnxRouter.from_export(folder)
    with pytest.raises(ExportError, match=r"encoder/config\.json is missing"):
        TorchRouter.from_export(folder)
    (folder / "onnx" / "tokenizer.json").write_text("{}")
    with pytest.raises(ExportError, match=r"onnx/tokenizer\.json has changed"):
        OnnxRouter.from_export(folder)
    shutil.rmtree(folder / "onnx")
    with pytest.raises(ExportError, match=r"infer\.py mode=export"):
        OnnxRouter.from_export(folder)


def test_a_precision_or_number_of_threads_that_makes_no_sense_is_refused(export: Path) -> None:
    with pytest.raises(ConfigError, match="threads=0"):
        OnnxRouter.from_export(export, threads=0)
    with pytest.raises(ConfigError, match="precision='int4'"):
        OnnxRouter.from_export(export, precision="int4")


def test_int8_output_of_a_text_does_not_depend_on_its_batch(export: Path) -> None:
    router = OnnxRouter.from_export(export, precision="int8")
    texts = ["please add sum", "poem", "please court judge law verse rhyme " * 9]
    alone = np.concatenate([router.route([text]).probs for text in texts])
    np.testing.assert_allclose(router.route(texts).probs, alone, atol=1e-5)


def test_inspect_shows_candidates_figures_and_forms(export: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(export)]) == 0
    shown = capsys.readouterr().out
    for expected in (*CANDIDATES, "whole and unchanged", "gap closed", "ONNX int8", "arithmetic"):
        assert expected in shown
    assert main(["inspect", str(export / "onnx")]) == 2
    assert "no manifest.json" in capsys.readouterr().err
