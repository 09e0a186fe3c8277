"""Load an export with the runtime that fits: ONNX Runtime where possible, else torch."""

from pathlib import Path

from zooter.router import manifest
from zooter.router.protocol import Router


def load_router(folder: str | Path, device: str | None = None) -> Router:
    """Load a router from an export.

    Args:
        folder: the export.
        device: None prefers the ONNX form and falls back to torch; "cpu", "cuda" or "auto" loads torch on that device.

    Returns:
        A router whose files have been checked against the manifest.

    Raises:
        ExportError: the export is incomplete or changed, or its weights belong to another pool.
    """
    folder = Path(folder)
    # Imported here: torch takes seconds to load, and ONNX Runtime may not be installed beside it.
    if device is None and (folder / manifest.PARITY).is_file():
        from zooter.router.onnx_router import OnnxRouter

        return OnnxRouter.from_export(folder)
    from zooter.router.torch_router import TorchRouter

    return TorchRouter.from_export(folder, device or "auto")
