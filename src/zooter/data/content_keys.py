"""Compute content keys: what a response or a reward depends on, as one hash.

A response's key covers the query's text, the sample number and every setting that can change what the candidate writes.
A reward's key covers the query, the response and every setting that can change the rewarder's result. Candidate names,
prices and addresses are in neither, so changing one of them repeats no call.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from json.encoder import encode_basestring_ascii

import pyarrow as pa

from zooter.data.types import Query, Response


def canonical_json(identity: Mapping[str, object]) -> str:
    """Serialise an identity as JSON with sorted keys, so that equal identities give equal texts."""
    return json.dumps(identity, sort_keys=True, ensure_ascii=False)


def content_key(*parts: object) -> str:
    """Hash JSON-ready values to a content key.

    Args:
        parts: values that `json.dumps` accepts; their order counts.

    Returns:
        32 hexadecimal digits.
    """
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()


def response_keys(identity: Mapping[str, object], queries: Iterable[Query], sample: int) -> list[str]:
    """Compute the content key of each query's response by one candidate.

    Args:
        identity: every setting that can change the candidate's responses.
        queries: n queries.
        sample: number of the sample, from 0.

    Returns:
        n keys.
    """
    return list(_response_keys(identity, queries, sample))


def response_key_array(identity: Mapping[str, object], queries: Sequence[Query], samples: int) -> pa.Array:
    """Compute `response_keys` of all samples as an Arrow array, which takes 36 bytes per key.

    Args:
        identity: every setting that can change the candidate's responses.
        queries: n queries.
        samples: number of samples k.

    Returns:
        k · n keys, sample after sample.
    """
    keys = (key for sample in range(samples) for key in _response_keys(identity, queries, sample))
    return pa.array(keys, pa.string(), size=samples * len(queries))


def _response_keys(identity: Mapping[str, object], queries: Iterable[Query], sample: int) -> Iterator[str]:
    """Yield `content_key(prefix, text, sample)`, with the prefix hashed once: there are millions of keys."""
    start = f'["{content_key("response", canonical_json(identity))}", '.encode()
    prefix, end = hashlib.blake2b(start, digest_size=16), f", {sample}]"
    for query in queries:
        state = prefix.copy()
        state.update((encode_basestring_ascii(query.text) + end).encode())
        yield state.hexdigest()


def group_of(identity: Mapping[str, object] | str) -> str:
    """Name the group of a store in which the cells of one identity are looked up.

    Args:
        identity: of a candidate or a rewarder; a text is its canonical JSON.
    """
    text = identity if isinstance(identity, str) else canonical_json(identity)
    return content_key("group", text)[:16]


def reward_keys(identity: Mapping[str, object], queries: Sequence[Query], responses: Sequence[Response]) -> list[str]:
    """Compute the content key of each response's reward.

    Args:
        identity: every setting that can change the rewarder's result.
        queries: n queries.
        responses: n responses, to the query at the same position.

    Returns:
        n keys.
    """
    prefix = content_key("reward", canonical_json(identity))
    # Tags are part of the key only if they choose the method (`VerifyRewarder.by_tag`).
    by_tag = bool(identity.get("by_tag"))
    keys = []
    for query, response in zip(queries, responses, strict=True):
        reference = list(query.references) if query.other_references else query.reference
        tags = query.tags if by_tag else ()
        keys.append(content_key(prefix, query.text, reference, response.text, response.finish_reason, *tags))
    return keys
