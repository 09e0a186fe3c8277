"""The public names: what there is, and that naming one loads no more than it needs."""

import subprocess
import sys

import pytest

import zooter

PUBLIC = {
    "Candidate", "Pool", "Query", "Response", "RewardTable", "Router", "RouterClassifier", "RouterOutput", "Run",
    "ZooterError", "__version__", "fit", "read_table",
}  # fmt: skip
HEAVY = ("torch", "transformers", "sklearn", "pytorch_lightning", "pyarrow", "onnxruntime", "numpy")


def loaded_by(statement: str) -> set[str]:
    """The heavy packages that a new process has imported after a statement."""
    script = f"{statement}\nimport sys\nprint(*sorted(set(sys.modules) & set({HEAVY!r})))"
    return set(
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    )


def test_the_public_names_are_these_and_each_is_there() -> None:
    assert set(zooter.__all__) == PUBLIC
    assert set(dir(zooter)) >= PUBLIC
    for name in PUBLIC:
        assert getattr(zooter, name) is not None


def test_an_unknown_name_is_refused_as_python_does() -> None:
    with pytest.raises(AttributeError, match="module 'zooter' has no attribute 'Routr'"):
        _ = zooter.Routr


@pytest.mark.parametrize(
    ("statement", "allowed"),
    [
        ("import zooter", set()),
        ("from zooter import ZooterError", set()),
        ("from zooter import Router, Query", {"numpy"}),
    ],
)
def test_a_name_loads_no_more_than_it_needs(statement: str, allowed: set[str]) -> None:
    assert loaded_by(statement) <= allowed
