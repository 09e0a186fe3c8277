"""Chat requests through the server, as clients see them."""

from pathlib import Path

import pytest
from support import upstreams
from support.upstreams import running_server


def test_a_question_is_answered_by_the_candidate_that_the_router_chooses(tmp_path: Path) -> None:
    with running_server(tmp_path) as front:
        answer = front.chat("one for large")
    assert answer.status_code == 200
    assert answer.json()["choices"][0]["message"]["content"] == "I am large"
    assert answer.headers["x-zooter-candidate"] == "large"
    assert answer.headers["x-zooter-why"] == "best"
    assert 0 <= float(answer.headers["x-zooter-decision-ms"]) < 300
    assert front.upstreams["large"].bodies[0]["model"] == "large-v1"
    assert not front.upstreams["small"].bodies


def test_a_stream_passes_through_byte_by_byte(tmp_path: Path) -> None:
    with running_server(tmp_path) as front:
        answer = front.chat("one for tiny", stream=True)
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    pieces = [
        upstreams.sse_event("I am "),
        upstreams.sse_event("tiny"),
        upstreams.sse_event("", usage=usage),
        b"data: [DONE]\n\n",
    ]
    assert answer.content == b"".join(pieces)
    assert answer.headers["content-type"] == "text/event-stream"
    assert front.metric("tokens_total", candidate="tiny", kind="output") == 5


@pytest.mark.parametrize("name", ["small", "large"])
def test_a_candidate_can_be_asked_for_by_name(tmp_path: Path, name: str) -> None:
    with running_server(tmp_path) as front:
        answer = front.chat("one for tiny", model=name)
    assert answer.headers["x-zooter-candidate"] == name
    assert answer.headers["x-zooter-why"] == "asked for"
