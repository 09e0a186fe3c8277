"""An export is loaded in its ONNX form where it has one and no device is asked for, else by torch."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.made_up import CANDIDATES, rows

from zooter.errors import ExportError, RecordsError
from zooter.router.loading import load_router
from zooter.router.onnx_router import OnnxRouter
from zooter.router.protocol import Router
from zooter.router.torch_router import TorchRouter

TEXTS = [str(row["query"]) for row in rows(12)]


def without_onnx(export: Path, folder: Path) -> Path:
    shutil.copytree(export, folder)
    shutil.rmtree(folder / "onnx")
    return folder


def test_the_onnx_form_is_preferred(export: Path) -> None:
    assert isinstance(load_router(export), OnnxRouter)
    assert isinstance(load_router(str(export)), OnnxRouter)


def test_a_device_asks_for_torch(export: Path) -> None:
    router = load_router(export, device="cpu")
    assert isinstance(router, TorchRouter)
    assert router.encoder.device == "cpu"


def test_an_export_whose_onnx_form_is_missing_is_damaged(export: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"onnx/.* is missing"):
        load_router(without_onnx(export, tmp_path / "export"))


def test_an_export_that_never_had_an_onnx_form_is_loaded_by_torch(export: Path, tmp_path: Path) -> None:
    from zooter.router import manifest

    folder = without_onnx(export, tmp_path / "export")
    manifest.write(folder, manifest.facts(manifest.read_json(folder / manifest.FILE, folder)))
    assert isinstance(load_router(folder), TorchRouter)


def test_a_folder_that_is_no_export_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"no manifest\.json"):
        load_router(tmp_path)


def test_both_forms_satisfy_one_interface_with_the_same_values(export: Path) -> None:
    onnx: Router = OnnxRouter.from_export(export, precision="float32")
    torch: Router = load_router(export, device="cpu")
    assert onnx.pool == torch.pool
    assert onnx.pool.names == tuple(sorted(CANDIDATES))
    assert onnx.folder == torch.folder == export
    assert onnx.facts == torch.facts
    assert set(onnx.tag_names) == {"arithmetic", "poetry", "law"}
    assert onnx.tag_names == torch.tag_names
    (onnx_output, onnx_tags), (torch_output, torch_tags) = (router.route_with_tags(TEXTS) for router in (onnx, torch))
    np.testing.assert_allclose(onnx_output.probs, torch_output.probs, atol=1e-5)
    np.testing.assert_allclose(onnx_tags, torch_tags, atol=1e-5)
    np.testing.assert_allclose(torch_tags.sum(axis=1), 1.0, atol=1e-5)
    np.testing.assert_array_equal(torch_output.probs, torch.route(TEXTS).probs)


@pytest.mark.parametrize("device", [None, "cpu"])
def test_no_texts_give_no_rows_and_blank_texts_are_refused(export: Path, device: str | None) -> None:
    router = load_router(export, device)
    output, tags = router.route_with_tags([])
    assert output.probs.shape == (0, 3)
    assert tags.shape == (0, len(router.tag_names))
    with pytest.raises(RecordsError, match="an empty one at row 2"):
        router.route_with_tags(["please add", " "])


def test_loading_the_onnx_form_imports_no_torch(export: Path) -> None:
    code = """
import sys
from zooter.router.loading import load_router
load_router(sys.argv[1]).route(["please add"])
heavy = {"torch", "transformers", "sklearn", "scipy"} & set(sys.modules)
sys.exit(str(heavy) if heavy else 0)
"""
    process = subprocess.run([sys.executable, "-c", code, str(export)], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
