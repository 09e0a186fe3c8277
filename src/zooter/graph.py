"""A router as an ONNX graph in float32, of standard operators alone."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator

import onnx_ir as ir
import torch
from torch import Tensor, nn

from zooter.encoder import pooled
from zooter.errors import ExportError
from zooter.net import Head
from zooter.router import Router
from zooter.surface import SIZE

INPUTS = ["input_ids", "attention_mask", "surface"]
OUTPUTS = ["logits", "rewards", "tags"]


class Whole(nn.Module):
    """Encoder and head as one: (n, l) token ids, (n, l) mask and (n, SIZE) surface features → what a router says.

    `logits` (n, m), whose softmax gives the probabilities; `rewards` (n, m), those expected; `tags` (n, t), the
    probabilities of the tags of the first view.
    """

    def __init__(self, backbone: nn.Module, head: Head, layers: tuple[int, ...]) -> None:
        super().__init__()
        self.backbone, self.head, self.layers = backbone, head, layers

    def forward(self, input_ids: Tensor, attention_mask: Tensor, surface: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        read = torch.cat([pooled(self.backbone, input_ids, attention_mask, self.layers), surface], dim=-1)
        rewards = self.head.expected(read)
        return rewards / self.head.calibration, rewards, self.head.tags(read)


def trace(router: Router) -> ir.Model:
    """The router's graph, with a dynamic number of texts and of tokens.

    Raises:
        ExportError: the encoder does things that ONNX cannot say.
    """
    backbone = router.encoder.backbone("eager").requires_grad_(False)
    whole = Whole(backbone, router.head.cpu(), router.encoder.layers).eval()
    ids = torch.full((2, 16), 5)
    mask = torch.ones_like(ids)
    mask[1, 10:] = 0
    n, length = torch.export.Dim("texts", min=1), torch.export.Dim("tokens", min=1, max=router.encoder.max_length)
    shapes = {"input_ids": {0: n, 1: length}, "attention_mask": {0: n, 1: length}, "surface": {0: n}}
    try:
        with quietly(), torch.inference_mode():
            program = torch.onnx.export(
                whole, (ids, mask, torch.zeros(2, SIZE)), dynamo=True, verbose=False, external_data=False,
                input_names=INPUTS, output_names=OUTPUTS, dynamic_shapes=shapes,
            )  # fmt: skip
    except (torch.onnx.errors.OnnxExporterError, RuntimeError, TypeError) as error:
        raise ExportError(
            expected=f"an encoder that ONNX can say, in {router.encoder.model}",
            found=str(error).splitlines()[0],
            do="set export.onnx=false; the export routes with torch then",
        ) from error
    assert program is not None
    return program.model


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Exporters report their steps to standard output and the log, and packages that they do without as warnings."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
