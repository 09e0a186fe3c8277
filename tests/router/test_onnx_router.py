"""The router without torch: the same answers from ONNX, on any text, from any thread."""

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
from zooter.router.onnx_router import BATCH_TOKENS, OnnxRouter
from zooter.router.torch_router import TorchRouter as Torch

AWKWARD = ["\x00", "👩‍👩‍👧‍👦🏳️‍🌈", "مرحبا يا عالم", "a\ud83d b", "\u202eabc", "x" * 100_000, "word " * 20_000, "\u200b"]


@pytest.fixture(scope="module")
def router(export: Path) -> OnnxRouter:
    return OnnxRouter.load(export, precision="float32")


@pytest.fixture(scope="module")
def torch_router(export: Path) -> Torch:
    return Torch.load(export, device="cpu")


def test_it_routes_as_the_torch_router_does(router: OnnxRouter, torch_router: Torch) -> None:
    texts = [str(row["query"]) for row in rows(60)]
    expected, found = torch_router.route(texts), router.route(texts)
    assert found.names() == expected.names()
    assert found.candidates == expected.candidates == tuple(sorted(CANDIDATES))
    np.testing.assert_allclose(found.probs, expected.probs, atol=1e-5)
    assert found.rewards is not None
    assert expected.rewards is not None
    np.testing.assert_allclose(found.rewards, expected.rewards, atol=1e-5)


@given(st.text(st.characters(), min_size=1) | st.sampled_from(AWKWARD))
def test_any_text_is_routed_as_torch_routes_it_or_refused_by_both(
    router: OnnxRouter, torch_router: Torch, text: str
) -> None:
    if not text.strip():
        for either in (router, torch_router):
            with pytest.raises(RecordsError, match="an empty one at row 1"):
                either.route([text])
        return
    np.testing.assert_allclose(router.route([text]).probs, torch_router.route([text]).probs, atol=1e-5)


def test_tags_come_with_their_names(router: OnnxRouter) -> None:
    choices, tags = router.look(["please add sum plus digits", "please rhyme poem verse sonnet"])
    assert set(router.tag_names) == {"arithmetic", "poetry", "law"}
    assert [router.tag_names[j] for j in tags.argmax(axis=1)] == ["arithmetic", "poetry"]
    assert choices.names() == ["calculator", "poet"]


def test_batches_of_all_lengths_come_back_in_order(router: OnnxRouter) -> None:
    texts = [f"please {'add ' * length}" for length in (300, 1, 40, 7, 250, 3)] * 12
    assert 256 * len(texts) > BATCH_TOKENS, "one batch holds them all"
    alone = np.concatenate([router.route([text]).probs for text in texts[:6]])
    np.testing.assert_allclose(router.route(texts).probs, np.tile(alone, (12, 1)), atol=1e-5)
    assert router.route([]).probs.shape == (0, 3)


def test_threads_share_one_router(router: OnnxRouter) -> None:
    texts = [[f"please {word} {i}" for word in ("sum", "verse", "judge")] * (1 + i % 3) for i in range(40)]
    expected = [router.route(each).probs for each in texts]
    with ThreadPoolExecutor(8) as pool:
        for found, told in zip(pool.map(lambda each: router.route(each).probs, texts), expected, strict=True):
            np.testing.assert_array_equal(found, told)


def test_int8_is_used_where_it_chooses_alike(export: Path) -> None:
    about = json.loads((export / "onnx" / "parity.json").read_text())
    assert about["float32"]["largest_probability_difference"] < 1e-5
    assert (about["int8"]["changed_choices"] <= 0.01) == (about["default"] == "int8")
    assert OnnxRouter.load(export).precision == about["default"]
    assert OnnxRouter.load(export).facts["onnx"]["default"] == about["default"]


def test_serving_loads_nothing_heavy(export: Path) -> None:
    code = """
import sys
from zooter.router.onnx_router import Router
Router.load(sys.argv[1]).route(["please add"])
heavy = {"torch", "transformers", "pytorch_lightning", "hydra", "omegaconf", "sklearn", "scipy", "pyarrow", "onnx"}
sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)
"""
    done = subprocess.run([sys.executable, "-c", code, str(export)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_serving_reads_must_be_whole_and_the_rest_may_be_gone(export: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(export, tmp_path / "export")
    shutil.rmtree(folder / "encoder")
    OnnxRouter.load(folder)
    with pytest.raises(ExportError, match=r"encoder/config\.json is missing"):
        Torch.load(folder)
    (folder / "onnx" / "tokenizer.json").write_text("{}")
    with pytest.raises(ExportError, match=r"onnx/tokenizer\.json has changed"):
        OnnxRouter.load(folder)
    shutil.rmtree(folder / "onnx")
    with pytest.raises(ExportError, match=r"infer\.py mode=export"):
        OnnxRouter.load(folder)


def test_a_precision_or_number_of_threads_that_makes_no_sense_is_refused(export: Path) -> None:
    with pytest.raises(ConfigError, match="threads=0"):
        OnnxRouter.load(export, threads=0)
    with pytest.raises(ConfigError, match="precision='int4'"):
        OnnxRouter.load(export, precision="int4")


def test_int8_says_the_same_of_a_text_whatever_stands_beside_it(export: Path) -> None:
    router = OnnxRouter.load(export, precision="int8")
    texts = ["please add sum", "poem", "please court judge law verse rhyme " * 9]
    alone = np.concatenate([router.route([text]).probs for text in texts])
    np.testing.assert_allclose(router.route(texts).probs, alone, atol=2e-2)


def test_inspect_tells_candidates_figures_and_forms(export: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(export)]) == 0
    shown = capsys.readouterr().out
    for told in (*CANDIDATES, "whole and unchanged", "gap closed", "ONNX int8", "arithmetic"):
        assert told in shown
    assert main(["inspect", str(export / "onnx")]) == 2
    assert "no manifest.json" in capsys.readouterr().err
