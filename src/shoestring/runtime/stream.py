"""Stream: an iterator over the pieces of answers, which steps the engine in the thread that reads it."""

from __future__ import annotations

import dataclasses
import threading
from collections import deque
from collections.abc import Callable, Sequence

from shoestring.engine.engine import Engine
from shoestring.errors import RequestError
from shoestring.output.pieces import Piece, Pieces, as_last
from shoestring.runtime.answers import AnswerItem, Answers, Delta, Finished, Usage


class Stream:
    """An iterator of Pieces; those of several answers are interleaved as they are computed.

    Each piece is computed on demand. `close`, the end of a `with` block, or dropping the stream ends all its answers;
    other streams of the model continue. Any thread may read or close it.
    """

    def __init__(self, engine: Callable[[], Engine], batch: Sequence[Answers]) -> None:
        """engine: the model's; raises when the model is closed."""
        self._engine = engine
        self._batch = batch
        self._open = {number: index for index, answers in enumerate(batch) for number in answers.numbers}
        self._pieces: deque[Piece] = deque()
        self._makers: dict[tuple[int, int], Pieces] = {}
        #: one thread reads at a time
        self._reading = threading.Lock()

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> Piece:
        with self._reading:
            while not self._pieces:
                numbers = [number for answers in self._batch for number in answers.numbers]
                if not numbers:
                    raise StopIteration
                try:
                    self._advance(numbers)
                except BaseException:
                    self.close()
                    raise
            return self._pieces.popleft()

    def _advance(self, numbers: Sequence[int]) -> None:
        engine = self._engine()
        deliveries = engine.deliveries(numbers)
        with engine.lock:  # the engine calls the answers' guides in its steps, maybe in another thread
            if not deliveries and any(answers.numbers for answers in self._batch):
                self._engine()  # raises if the model was closed meanwhile
                raise RequestError("the answer has ended because another request failed in its step: send it again")
            for delivery in deliveries:
                index = self._open[delivery.number]
                for item in self._batch[index].take(delivery):
                    self._add(index, item)

    def _add(self, index: int, item: AnswerItem) -> None:
        match item:
            case Delta(choice, events, tokens):
                thinking = self._batch[index].prompt.inside_thinking
                maker = self._makers.setdefault((index, choice), Pieces(index, choice, thinking=thinking))
                self._pieces.extend(maker.take(events, tokens))
            case Finished(_, reason):  # the last piece is of the answer's last token
                self._pieces[-1] = as_last(self._pieces[-1], reason, inside_thinking=item.inside_thinking)

    def first(self, progress: Callable[[int, int], None]) -> Piece | None:
        """The first piece; None if there is none. progress: called with the rows of pictures encoded so far, and all,
        between the engine's steps."""
        engine = self._engine()
        while not self._pieces and (numbers := [number for answers in self._batch for number in answers.numbers]):
            done, rows = map(sum, zip(*(engine.status(n).pictures for n in numbers), strict=True))
            if done == rows:
                break
            progress(done, rows)
            with self._reading:
                engine.step()
        return next(self, None)

    @property
    def usage(self) -> Usage:
        """Tokens so far, over all prompts and answers."""
        totals = zip(*(dataclasses.astuple(answers.usage) for answers in self._batch), strict=True)
        return Usage(*map(sum, totals))

    def texts(self) -> list[str]:
        """The rest of every answer, without thinking: of the first prompt's `n` answers, then of the second's, …

        Reads the stream to its end.
        """
        answers: dict[tuple[int, int], list[str]] = {
            (index, choice): [] for index, batch in enumerate(self._batch) for choice in range(batch.count)
        }
        for piece in self:
            if not piece.thinking:
                answers[piece.index, piece.choice].append(piece.text)
        return ["".join(pieces) for pieces in answers.values()]

    def __repr__(self) -> str:
        count = sum(answers.count for answers in self._batch)
        ended = not any(answers.numbers for answers in self._batch)
        tokens = self.usage.completion_tokens
        return f"Stream({count} answer{'s' * (count != 1)}, {tokens} tokens{', ended' * ended})"

    def close(self) -> None:
        """End all answers."""
        for answers in self._batch:
            answers.close()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __del__(self) -> None:
        for answers in self._batch:
            answers.close_soon()
