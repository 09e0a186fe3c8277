"""Embeddings that are computed in shards."""

from pathlib import Path

import numpy as np
from support.made_up import encoder_folder
from support.sharded_engine import ShardedEngine

from zooter.collect.engine.local import LocalEngine
from zooter.router.encoder import Encoder
from zooter.router.fill_embeddings import fill_embeddings

TEXTS = [f"please add {i}" for i in range(5)]


def test_embeddings_in_shards_are_those_of_one_process_and_none_is_computed_again(tmp_path: Path) -> None:
    encoder_folder(tmp_path / "encoder")
    encoder = Encoder(str(tmp_path / "encoder"), layers=(1, 2))
    encoder.embed(TEXTS[:1], tmp_path)
    engine = ShardedEngine()
    fill_embeddings(TEXTS, encoder, tmp_path, engine)
    assert len(engine.shards) == 2, "four texts were missing"
    fill_embeddings(TEXTS, encoder, tmp_path, engine)
    assert len(engine.shards) == 2
    assert len(encoder.store(tmp_path).table(["key"])) == 5
    np.testing.assert_allclose(encoder.embed(TEXTS, tmp_path), encoder.embed(TEXTS), atol=1e-5)


def test_an_engine_of_this_process_leaves_them_to_the_encoder(tmp_path: Path) -> None:
    encoder_folder(tmp_path / "encoder")
    fill_embeddings(TEXTS, Encoder(str(tmp_path / "encoder"), layers=(1, 2)), tmp_path / "cache", LocalEngine())
    assert not (tmp_path / "cache").exists()
