"""Execute the notebooks and keep their outputs, small and without what differs from machine to machine.

python notebooks/execute.py [NAME …]      ZOOTER_RUN names the run that they show; without it they make one
"""

import base64
import io
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from PIL import Image

FOLDER = Path(__file__).parent
COLOURS = 256
TIMEOUT = 3_600  # seconds for a cell


def execute(path: Path) -> Any:
    """Run a notebook from top to bottom in its folder.

    Returns:
        The notebook with small outputs.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell fails.
    """
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook, timeout=TIMEOUT, record_timing=False, resources={"metadata": {"path": str(FOLDER)}}
    )
    with tempfile.TemporaryDirectory() as folder:
        client.execute(env={**os.environ, "IPYTHONDIR": folder})
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if "image/png" in data:
                data["image/png"] = shrink(data["image/png"])
                data.pop("text/plain", None)  # "<IPython.core.display.Image object>"
    notebook.metadata = {key: notebook.metadata[key] for key in ("kernelspec",) if key in notebook.metadata}
    return notebook


def shrink(png: str) -> str:
    """Reduce the colours of a picture; both are PNG in base64."""
    picture = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB").quantize(COLOURS)
    buffer = io.BytesIO()
    picture.save(buffer, format="png", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


if __name__ == "__main__":
    names = sys.argv[1:] or sorted(path.stem for path in FOLDER.glob("*.ipynb"))
    for name in names:
        nbformat.write(execute(FOLDER / f"{name}.ipynb"), FOLDER / f"{name}.ipynb")
