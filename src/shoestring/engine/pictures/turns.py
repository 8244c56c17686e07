"""The tower's turns: between two steps of the running answers, one layer of one part of one picture.

A part is encoded for the request whose rows come next, and kept for others (store.py). If all requests that need the
part in progress are cancelled, it is dropped.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from collections.abc import Sequence as Tokens

from shoestring.engine.ledger import Ledger
from shoestring.engine.pictures.encoder import Encoder
from shoestring.engine.pictures.placed import PlacedPart, PromptPictures, SequencePictures
from shoestring.engine.pictures.store import Name, RowStore
from shoestring.engine.request import Request
from shoestring.engine.runner import Runner
from shoestring.engine.sequence import Sequence
from shoestring.errors import RequestError
from shoestring.ops import Float32


class PictureTurns:
    """The part in progress, and those that are encoded. requests: those that are not over.

    most_bytes: of rows kept beside those that running requests need.
    """

    def __init__(
        self,
        runner: Runner,
        encoder: Encoder | None,
        ledger: Ledger,
        requests: Mapping[int, Request],
        most_bytes: int,
    ) -> None:
        self._runner = runner
        self._encoder = encoder
        self._ledger = ledger
        self._requests = requests
        self.store = RowStore(most_bytes)
        self._current: tuple[Name, PlacedPart] | None = None
        self._layers: Generator[Float32, None, None] | None = None
        self._turn = 0
        self._busy = False
        #: rows encoded so far
        self.encoded_rows = 0

    def sequence(
        self, tokens: Tokens[int], pictures: PromptPictures | None, boundaries: Tokens[int], owner: str
    ) -> Sequence:
        """A sequence of tokens and rows of pictures. Raises RequestError if the model has no tower."""
        sequence = Sequence(tokens, boundaries=boundaries, owner=owner)
        if pictures is not None and pictures.parts:
            if self._encoder is None:
                raise RequestError("this model reads text alone: leave pictures out")
            sequence.pictures = SequencePictures(pictures, len(tokens), self.store, owner)
        return sequence

    def advance(self) -> list[tuple[int, Exception]]:
        """Compute a layer, if there is a part to encode. Returns the requests that fail because it fails, with errors.

        Raises what is no Exception; then the part begins again with the next turn.
        """
        encoder = self._encoder
        if encoder is None or (self._current is None and not self._begin()):
            return []
        assert self._current is not None
        name, placed = self._current
        try:
            if self._layers is None:  # pixels are decoded and normalised in a turn of their own
                self._layers = encoder.encode(placed.part, placed.load())
                return []
            self._next_layer(name, placed, self._layers)
            return []
        except Exception as error:
            self._drop()
            return [(number, error) for number in self._needing(name)]
        except BaseException:
            self._drop()
            raise

    def _begin(self) -> bool:
        """Choose the next part. False: none is missing."""
        waiting = {}
        for number in self._ledger.scheduler.running:
            sequence = self._ledger.sequence(number)
            if sequence.pictures is not None and number in self._requests:
                missing = sequence.pictures.next_missing(sequence.computed)
                if missing is not None:
                    waiting[number] = ((sequence.pictures.owner, missing.part.key), missing)
        if waiting:
            self._current, self._turn = waiting[self._ledger.scheduler.first_of(waiting)], 0
            self._busy = True
        elif self._busy and self._encoder is not None:
            self._busy = False
            self._encoder.rest()
        return bool(waiting)

    def _next_layer(self, name: Name, placed: PlacedPart, layers: Generator[Float32, None, None]) -> None:
        ended = False
        with self._runner.frame():
            rows = next(layers)
            self._turn += 1
            assert self._encoder is not None
            if self._turn == self._encoder.layers:
                ended = True
                assert rows.shape == (placed.part.count, self._runner.hidden_size), "the tower gives other rows"
                if not self._runner.is_finite(rows):
                    raise RequestError(f"{self._runner.source}: its vision tower computes a number that is not finite")
                self.store.add(*name, rows)
        if ended:
            self.encoded_rows += placed.part.count
            for number in self._needing(name):
                self._ledger.scheduler.encoded(number, placed.part.count)
                break
            self._drop()
            self.store.trim(self._needed())

    def _needing(self, name: Name) -> list[int]:
        """The running requests that still compute rows of a part."""
        return [number for number, names in self._needs().items() if name in names and number in self._requests]

    def _needed(self) -> set[Name]:
        return {name for names in self._needs().values() for name in names}

    def _needs(self) -> dict[int, set[Name]]:
        needs: dict[int, set[Name]] = {}
        for number in self._ledger.scheduler.running:
            sequence = self._ledger.sequence(number)
            if sequence.pictures is not None:
                left = sequence.pictures.left(sequence.computed)
                needs[number] = {(sequence.pictures.owner, part.part.key) for part in left}
        return needs

    def drop_deserted(self) -> None:
        """A request is over: drop the part in progress if no other needs it, and evict what is too much."""
        if self._current is not None and not self._needing(self._current[0]):
            self._drop()
        self.store.trim(self._needed())

    def _drop(self) -> None:
        if self._layers is not None:
            self._layers.close()
        self._current, self._layers = None, None

    def progress(self, number: int) -> tuple[int, int]:
        """Rows of pictures that a request has computed or encoded, the share of the part in progress too; and
        all of its rows of pictures."""
        sequence = self._requests[number].sequence
        if sequence.pictures is None:
            return 0, 0
        rows = done = 0
        for placed in sequence.pictures.parts:
            name, count = (sequence.pictures.owner, placed.part.key), placed.part.count
            rows += count
            if placed.end <= sequence.computed or self.store.has(*name):
                done += count
            elif self._current is not None and self._current[0] == name and self._encoder is not None:
                done += count * self._turn // self._encoder.layers
        return done, rows

    def close(self) -> None:
        self._drop()
        self._encoder = None
