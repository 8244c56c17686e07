"""ScriptedRunner: a model with scripted answers, for tests of everything above the kernels.

It checks the engine: it stores tokens in the pages of a global and a chunk-local layer and, as a running hash, in a
recurrent slot, and reads from there what each row sees. A wrong page, a wrong slot or a row computed twice raises
AssertionError at once.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from collections.abc import Sequence as Tokens
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import numpy.typing as npt

from shoestring.errors import RequestError
from shoestring.models.layout import Layout
from shoestring.models.state import PAGE_TOKENS, AttentionPages, AttentionState, DeltaNetSlots, DeltaNetState, State
from shoestring.models.step import Observe, PageTable, Step
from shoestring.ops import Float32, Uint32
from shoestring.ops.sampling import Sampled, Sampling

Integers = npt.NDArray[np.integer[Any]]

#: A prime below 2^24, so that the hash is exact in float32.
_MODULUS = 16_777_213


class ScriptedRunner:
    """`script(tokens)` returns the next token; its logit is 10, all others are 0. Hidden states are (span, position).

    chunk_size 0: no chunk-local layer. recurrent: add a layer with recurrent state. The script is called only for rows
    that need logits, so long prompts stay fast. pass_rows: compute prompts in passes through `layers` layers; the state
    belongs to the first ones.
    """

    def __init__(
        self,
        script: Callable[[tuple[int, ...]], int],
        *,
        vocab_size: int = 512,
        chunk_size: int = 0,
        recurrent: bool = True,
        layers: int = 0,
        pass_rows: int | None = None,
    ) -> None:
        self._script = script
        self._chunk_size = chunk_size
        states: list[AttentionState | DeltaNetState] = [AttentionState(1, 1)]
        if chunk_size:
            states.append(AttentionState(1, 1, chunk_size=chunk_size))
        if recurrent:
            states.append(DeltaNetState(convolution=(1, 1), memory=(1, 1, 1)))
        self.layout = Layout(tuple(states))
        self.vocab_size = vocab_size
        self.hidden_size = 2
        self.layers = layers
        self.pass_rows = pass_rows
        self.source = "script"
        #: the tokens that each span sees at its end, of the last step and of the last pass
        self._seen: dict[int, tuple[int, ...]] = {}
        self._spans = self._pass_spans = range(0)
        self._next_span = 0
        #: rows computed so far, and how many layers passes have gone through
        self.rows = self.layers_visited = 0

    def frame(self) -> AbstractContextManager[object]:
        return nullcontext()

    def forward(self, state: State, step: Step, observe: Observe | None = None) -> Float32:
        """[rows, 2]: the span and the position of each row, passed to `observe` after every layer."""
        self._spans = self._new_spans(self._spans, step)
        *_, hidden = self._turns(state, step, self._spans, observe)
        return hidden

    def begin_pass(self, state: State, step: Step, observe: Observe | None = None) -> Generator[Float32, None, None]:
        self._pass_spans = self._new_spans(self._pass_spans, step)
        for hidden in self._turns(state, step, self._pass_spans, observe):
            self.layers_visited += 1
            yield hidden

    def _new_spans(self, before: range, step: Step) -> range:
        """Numbers of the step's spans, in place of those before."""
        for number in before:
            self._seen.pop(number, None)
        spans = range(self._next_span, self._next_span + len(step.write_slots))
        self._next_span = spans.stop
        self.rows += len(step.token_ids)
        return spans

    @staticmethod
    def _ids(step: Step) -> Integers:
        """The tokens of the step's rows; of a row without one, the number in its embedding."""
        ids = step.token_ids.astype(np.int64)
        if step.embeddings is not None:
            ids[ids < 0] = step.embeddings[:, 0].astype(np.int64)
        return ids

    def _turns(self, state: State, step: Step, numbers: range, observe: Observe | None) -> Iterator[Float32]:
        """A layer a turn. Each state belongs to a layer of its own, if there are as many; the last checks the first."""
        hidden = np.zeros((len(step.token_ids), 2), np.float32)
        spans = [*enumerate(zip(step.span_starts[:-1].tolist(), step.span_starts[1:].tolist(), strict=True))]
        for span, (first, end) in spans:
            assert (np.diff(step.index[first:end]) == 1).all(), "a span has a gap"
            hidden[first:end, 0], hidden[first:end, 1] = numbers[span], step.index[first:end]
        parts = (self._store_global, self._attend, self._recur)
        turns = max(1, self.layers)
        for turn in range(turns):
            if observe is not None:
                observe(turn, hidden)
            for part in parts[turn:] if turn == turns - 1 else parts[turn : turn + 1]:
                for span, (first, end) in spans:
                    part(state, step, span, first, end)
            if turn == turns - 1:
                for span, (_, end) in spans:
                    self._seen[numbers[span]] = self._see(state, step, span, end)
                if observe is not None and self.layers:
                    observe(self.layers, hidden)
            yield hidden

    def _store_global(self, state: State, step: Step, span: int, first: int, end: int) -> None:
        pool = next(layer for layer in state.layers if isinstance(layer, AttentionPages))
        _store(pool, step.global_pages, span, step.index[first:end], self._ids(step)[first:end])

    def _see(self, state: State, step: Step, span: int, end: int) -> tuple[int, ...]:
        """All tokens that the span's last row sees."""
        pool = next(layer for layer in state.layers if isinstance(layer, AttentionPages))
        return _read(pool, step.global_pages, span, 0, int(step.index[end - 1]))

    def _attend(self, state: State, step: Step, span: int, first: int, end: int) -> None:
        """Store the tokens in the chunk-local layer too, and compare what its last row sees with the global layer."""
        if not self._chunk_size:
            return
        pool = [layer for layer in state.layers if isinstance(layer, AttentionPages)][1]
        _store(pool, step.chunk_pages, span, step.index[first:end], self._ids(step)[first:end])
        last = int(step.index[end - 1])
        start = last - last % self._chunk_size
        assert start <= step.index[first], "a span crosses the edge of a chunk"
        local, seen = _read(pool, step.chunk_pages, span, start, last), self._see(state, step, span, end)
        assert local == seen[start:], "the chunk's pages contain other tokens than the global ones"

    def _recur(self, state: State, step: Step, span: int, first: int, end: int) -> None:
        """Carry the hash of all tokens through the slots, and compare it with the tokens in the pages."""
        slots = next((layer for layer in state.layers if isinstance(layer, DeltaNetSlots)), None)
        if slots is None:
            return
        pools = next(layer for layer in state.layers if isinstance(layer, AttentionPages))
        start = int(step.index[first])
        read = int(step.read_slots[span])
        value = 0 if read < 0 else int(slots.memory[read, 0, 0, 0])
        assert value == _hash(_read(pools, step.global_pages, span, 0, start - 1)), "the state is of other tokens"
        ids = self._ids(step)
        for row in range(first, end):
            value = _next(value, int(ids[row]))
            for snapshot_row, slot in step.snapshots:
                if snapshot_row == row:
                    slots.memory[slot] = value
        slots.memory[int(step.write_slots[span])] = value

    def close(self) -> None:
        pass

    def head(self, hidden: Float32) -> Float32:
        logits = np.zeros((len(hidden), self.vocab_size), np.float32)
        for row, (span, index) in enumerate(hidden.tolist()):
            if np.isfinite(index):
                logits[row, self._script(self._seen[int(span)][: int(index) + 1])] = 10
            else:  # a test has damaged the hidden states
                logits[row] = np.nan
        return logits

    def is_finite(self, logits: Float32) -> bool:
        return bool(np.isfinite(logits).all())

    def sample(
        self,
        logits: Float32,
        sampling: Sampling,
        tokens: Tokens[int],
        prompt_length: int,
        index: int,
        allowed: Uint32 | None = None,
    ) -> Sampled:
        """The scripted token at any temperature. Applies bias and the guide's mask, for tests of both."""
        biased = logits.copy()
        for token, bias in sampling.logit_bias.items():
            biased[token] += bias
        if allowed is not None:
            biased[~allowed_tokens(allowed, self.vocab_size)] = -np.inf
            if not (biased > -np.inf).any():
                raise RequestError("no token is allowed to follow")
        token = int(np.argmax(biased))
        if sampling.logprobs is None:
            return Sampled(token)
        return Sampled(token, 0.0, tuple((token, 0.0) for _ in range(min(sampling.logprobs, 1))))


def allowed_tokens(allowed: Uint32, vocab_size: int) -> npt.NDArray[np.bool_]:
    """A guide's mask as booleans, [vocab_size]. Raises RequestError if it is too short."""
    words = -(-vocab_size // 32)
    if allowed.dtype != np.uint32 or allowed.ndim != 1 or len(allowed) < words:
        raise RequestError(f"the mask is {allowed.dtype} {allowed.shape}, {vocab_size} tokens need {words} words")
    bits: npt.NDArray[np.uint8] = np.unpackbits(allowed.astype("<u4").view(np.uint8), bitorder="little")
    return bits[:vocab_size].view(np.bool_)


def _places(table: PageTable, span: int, index: Integers) -> tuple[Integers, Integers]:
    """Page and offset of each position."""
    entries = index // PAGE_TOKENS - int(table.first_page[span])
    assert entries.size == 0 or (entries.min() >= 0 and entries.max() < table.pages.shape[1]), (
        f"positions {index} lie outside of the page table"
    )
    return table.pages[span, entries], index % PAGE_TOKENS


def _store(pool: AttentionPages, table: PageTable, span: int, index: Integers, tokens: Integers) -> None:
    pages, offsets = _places(table, span, index)
    pool.keys[pages, 0, 0, offsets] = tokens
    pool.values[pages, 0, offsets, 0] = tokens


def _read(pool: AttentionPages, table: PageTable, span: int, first: int, last: int) -> tuple[int, ...]:
    pages, offsets = _places(table, span, np.arange(first, last + 1))
    keys = pool.keys[pages, 0, 0, offsets]
    assert (keys == pool.values[pages, 0, offsets, 0]).all(), "keys and values are of different tokens"
    return tuple(keys.astype(np.int64).tolist())


def _next(value: int, token: int) -> int:
    return (value * 31 + token + 1) % _MODULUS


def _hash(tokens: Tokens[int]) -> int:
    value = 0
    for token in tokens:
        value = _next(value, token)
    return value
