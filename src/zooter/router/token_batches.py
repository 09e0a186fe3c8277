"""What training and serving do alike with texts before a net reads them. Pure Python."""

from collections.abc import Iterator, Sequence

from zooter.errors import RecordsError


def refuse_blank(texts: Sequence[str]) -> None:
    """Raise where there is nothing to decide by.

    Raises:
        RecordsError: a text is empty or white space alone.
    """
    blank = next((i for i, text in enumerate(texts) if not text.strip()), None)
    if blank is not None:
        raise RecordsError(
            expected="a text in every query", found=f"an empty one at row {blank + 1}", do="remove or fill it"
        )


def well_formed(text: str) -> str:
    """The text with `?` for lone surrogates, which JSON can carry and no tokenizer takes."""
    return text.encode("utf-8", "replace").decode("utf-8")


def length_batches(lengths: Sequence[int], most: int) -> Iterator[list[int]]:
    """Row numbers, shortest rows first, in batches of at most `most` padded tokens or one row."""
    batch: list[int] = []
    for i in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (len(batch) + 1) * lengths[i] > most:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch
