"""From a path to a Model: open the checkpoint, check that it fits, then load it."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from shoestring import ops
from shoestring.admission import (
    CACHE_SHARE,
    LEAST_CONTEXT,
    Needs,
    Plan,
    least_streaming,
    plan_state,
    plan_streaming,
)
from shoestring.checkpoint.config.experts import changed_experts, with_experts_per_token
from shoestring.checkpoint.open import check_unchanged, leave_page_cache
from shoestring.engine.engine import Engine
from shoestring.engine.pictures.store import PICTURE_BYTES
from shoestring.engine.runner import FamilyRunner
from shoestring.errors import CapacityError, RequestError
from shoestring.kv_types import KV_TYPES, KVType
from shoestring.media.settings import Wishes, checked_wishes, wished
from shoestring.models.experts import Experts
from shoestring.models.families import KernelWeights
from shoestring.models.weights import load_weights, stored_bytes
from shoestring.models.workspace import PROCESS_BYTES
from shoestring.runtime.arguments import whole
from shoestring.runtime.default_sampling import sampling_fields
from shoestring.runtime.finding import find
from shoestring.runtime.memory import free_memory, own_memory
from shoestring.runtime.model import Model
from shoestring.runtime.opening import Opened, open_model
from shoestring.runtime.pictures.reader import PictureReader
from shoestring.runtime.pictures.tower import TowerEncoder, most_patches, vision_bytes, without_memory
from shoestring.runtime.scripted import DEMO_SCRIPTED
from shoestring.runtime.streamed.forecast import Forecast, default_curve, forecast
from shoestring.runtime.streamed.info import StreamingInfo
from shoestring.runtime.streamed.memory import Memory, memory_of, spare_memory
from shoestring.runtime.streamed.recording import closing, recorder_of
from shoestring.runtime.vision.vision import Vision, open_vision
from shoestring.sizes import bytes_of, tokens_of
from shoestring.spelling import option
from shoestring.streaming.embedding import StoredEmbedding
from shoestring.streaming.experts import StreamedExperts
from shoestring.streaming.resident import read_matrices, resident_bytes, resident_sources
from shoestring.streaming.routes import RecordedExperts, RouteRecorder
from shoestring.streaming.store import USUAL_READER_BYTES, Store, open_store

if TYPE_CHECKING:
    from shoestring.checkpoint.text.chat_template import ChatTemplate
    from shoestring.checkpoint.text.tokenizer import Tokenizer

#: Bytes done, bytes in all.
Progress = Callable[[int, int], None]


def plan(
    opened: Opened,
    *,
    kv_type: KVType,
    context: int | None,
    threads: int | None = None,
    memory: int | None = None,
    parallel: int | None = None,
    cache_memory: int | Literal["share"] | None = None,
    vision_bytes: int = 0,
) -> Plan:
    """What fits into free memory, or into the budget `memory` of this process: the state beside the weights, or, where
    the weights do not fit, the state beside as many experts as fit. The others stay on disk.

    threads, cache_memory: as for `load`. vision_bytes: for pictures. Raises CapacityError with the bytes needed and
    free.
    """
    free = free_memory()
    own = own_memory()
    budget = free if memory is None else max(0, memory - own)
    limits: dict[str, Any] = {
        "name": str(opened.checkpoint.path),
        "model_context": opened.config.max_position_embeddings,
        "context": context,
        "kv_type": kv_type,
        "sequences": parallel,
        "budgeted": budget < free,
    }
    threads = threads or physical_cores()
    # The part that this process has allocated already is not free, and is not needed again.
    allocated = min(own, PROCESS_BYTES) - vision_bytes
    try:
        step = opened.workspace_bytes(threads) - allocated
        left = min(free, budget) - opened.weight_bytes - step
        return plan_state(
            opened.layout,
            weight_bytes=opened.weight_bytes,
            workspace_bytes=step,
            free_bytes=min(free, budget),
            cache_bytes=max(0, left) // CACHE_SHARE if cache_memory == "share" else cache_memory,
            **limits,
        )
    except CapacityError as error:
        if not opened.expert_layers or (context or 0) > opened.config.max_position_embeddings:
            raise CapacityError(f"{error}{_dense(opened)}") from None
    return plan_streaming(
        opened.layout,
        [layer.nbytes for layer in opened.expert_sources],
        opened.config.num_experts_per_tok,
        Needs(
            opened.resident_bytes, opened.reader_bytes, lambda rows: opened.streaming_bytes(threads, rows) - allocated
        ),
        free_bytes=min(free, budget),
        used_bytes=own,
        cache_bytes=cache_memory,
        **limits,
    )


def plan_with_vision(opened: Opened, vision: Vision, *, needed: bool, **limits: Any) -> tuple[Plan, Vision]:
    """`plan` with memory for pictures. Where that is too much, the model reads text alone, unless the tower is needed.

    limits: arguments of `plan`. Raises CapacityError.
    """
    try:
        return plan(opened, **limits, vision_bytes=vision_bytes(vision.tower)), vision
    except CapacityError:
        if vision.tower is None or needed:
            raise
        return plan(opened, **limits), without_memory(vision)


def least_memory(
    opened: Opened,
    kv_type: KVType = "f16",
    threads: int | None = None,
    own: int | None = None,
    vision_bytes: int = 0,
) -> int | None:
    """The least `memory` with which a model streams, for the smallest context; None: it is dense.

    It counts the usual buffers of the threads that read, so it needs no compiled code; experts that are stored
    transposed may take larger ones. own: what the process that loads it has already; default: as this one.
    vision_bytes: for pictures. Raises CheckpointError for experts that cannot stay on disk.
    """
    if not opened.expert_layers:
        return None
    count = threads or physical_cores()
    return (
        least_streaming(
            opened.layout,
            [layer.nbytes for layer in opened.expert_sources],
            opened.config.num_experts_per_tok,
            Needs(opened.resident_bytes, USUAL_READER_BYTES, lambda rows: opened.streaming_bytes(count, rows)),
            min(LEAST_CONTEXT, opened.config.max_position_embeddings),
            kv_type,
        )
        + max(0, (own_memory() if own is None else own) - PROCESS_BYTES)
        + vision_bytes
    )


def _dense(opened: Opened) -> str:
    return "" if opened.expert_layers else ". Only experts can stay on disk, and this model is dense"


@dataclass(frozen=True)
class Prepared:
    """A model that fits: opened and planned, nothing is loaded.

    budget: `memory` in bytes. recorder: writes the routes, where they are wanted.
    """

    opened: Opened
    plan: Plan
    threads: int
    kv_type: KVType
    vision: Vision
    wishes: Wishes
    budget: int | None = None
    recorder: RouteRecorder | None = None

    @property
    def changed_experts(self) -> str | None:
        """What --experts-per-token has changed (checkpoint/config/experts.py)."""
        return changed_experts(self.opened.config)

    @cached_property
    def forecast(self) -> Forecast | None:
        """The rate that is predicted, where the experts stream; None: they are all in memory. Probes the disk."""
        if self.plan.streaming is None:
            return None
        return forecast(self.opened, self.plan, self.threads, kv_type=self.kv_type)

    def memory(self) -> Memory:
        """What the process takes."""
        return memory_of(self.opened, self.plan, self.threads, self.kv_type, vision_bytes(self.vision.tower))

    @ops.standard_arithmetic()
    def load(self, progress: Progress | None = None) -> Model:
        """Load it. progress: called with bytes loaded and in all. Raises CheckpointError, TokenizerError."""
        opened, planned, recorder, tower = self.opened, self.plan, self.recorder, self.vision.tower
        patches = None if tower is None else most_patches(tower, spare_memory(self.memory(), self.budget))
        if recorder is not None:
            recorder.save()  # a file that cannot be written is refused now
        ops.set_num_threads(self.threads)
        with ThreadPoolExecutor(1, thread_name_prefix="text") as executor:
            text = executor.submit(text_side, opened)

            def advanced(done: int, total: int) -> None:
                if text.done():
                    text.result()  # raise its error now, not after loading all weights
                if progress is not None:
                    progress(done, total)

            loaded = load_experts(opened, planned, advanced)
            tokenizer, template = text.result()
        # The last time: only streaming reads the files from here on, and watches them.
        check_unchanged(opened.checkpoint)
        if loaded.store is not None:
            leave_page_cache(opened.checkpoint)
        runner = FamilyRunner(
            loaded.weights,
            loaded.experts if recorder is None else RecordedExperts(loaded.experts, recorder),
            tokenizer.vocab_size,
            str(opened.checkpoint.path),
            None if planned.streaming is None else planned.streaming.pass_rows,
            loaded.embedding,
            closing(loaded.store, recorder),
        )
        engine = Engine(
            runner,
            context=planned.context,
            kv_type=self.kv_type,
            sequences=planned.sequences,
            cache_bytes=planned.cache_bytes,
            capacity=planned.capacity,
            encoder=None if tower is None else TowerEncoder(tower, cached=loaded.store is None),
            picture_bytes=PICTURE_BYTES,
        )
        return Model(
            engine,
            tokenizer,
            template,
            family=opened.config.family,
            sampling_fields=sampling_fields(opened.checkpoint, tokenizer.vocab_size),
            streaming=self._streaming(loaded.experts),
            changed_experts=self.changed_experts,
            vision=PictureReader(
                opened.config.family,
                None if tower is None else wished(self.vision.settings, self.wishes),
                tokenizer.encode,
                self.vision.missing,
                most_patches=patches,
            ),
        )

    def _streaming(self, experts: Experts) -> StreamingInfo | None:
        if self.plan.streaming is None:
            return None
        assert isinstance(experts, StreamedExperts)
        predicted = vars(self).get("forecast")  # only of those who have asked for it: it probes the disk
        return StreamingInfo(
            self.plan.streaming.pass_rows,
            self.plan.streaming.slots,
            tuple(layer.nbytes for layer in self.opened.expert_sources),
            default_curve(self.opened),
            experts.totals,
            experts.observe_reads,
            None if predicted is None else predicted.disk_rate,
        )


def prepare(
    model: str | os.PathLike[str],
    threads: int | None = None,
    kv_type: KVType = "f16",
    context: int | str | None = None,
    progress: Progress | None = None,
    *,
    memory: int | str | None = None,
    parallel: int | None = None,
    cache_memory: int | str | None = None,
    experts_per_token: int | None = None,
    record_routes: str | os.PathLike[str] | None = None,
    mmproj: str | os.PathLike[str] | None = None,
    max_image_tokens: int | None = None,
    video_fps: float | None = None,
    max_frames: int | None = None,
) -> Prepared:
    """Open a model and check that it fits, as `load` does first. Arguments and errors as for `load`."""
    if kv_type not in KV_TYPES:
        raise RequestError(f"{option('kv_type')} is {kv_type!r}: choose one of {', '.join(KV_TYPES)}")
    count = physical_cores() if threads is None else checked_threads(threads)
    tokens = None if context is None else tokens_of(context, option("context"))
    places = None if parallel is None else whole(parallel, option("parallel"))
    wishes = checked_wishes(max_image_tokens, video_fps, max_frames)
    shared = cache_memory is None or cache_memory == "share"
    opened = open_model(find(model, progress))
    if experts_per_token is not None:
        opened = replace(opened, config=with_experts_per_token(opened.config, experts_per_token))
    vision = open_vision(opened.checkpoint, opened.config, mmproj)
    wished(vision.settings, wishes)
    budget = None if memory is None else bytes_of(memory, option("memory"))
    limits: dict[str, Any] = {
        "kv_type": kv_type,
        "context": tokens,
        "threads": count,
        "memory": budget,
        "parallel": places,
        "cache_memory": cache_memory if shared else bytes_of(cache_memory, option("cache_memory")),
    }
    planned, vision = plan_with_vision(opened, vision, needed=mmproj is not None, **limits)
    recorder = None if record_routes is None else recorder_of(opened, Path(record_routes))
    return Prepared(opened, planned, count, kv_type, vision, wishes, budget, recorder)


def load(
    model: str | os.PathLike[str],
    threads: int | None = None,
    kv_type: KVType = "f16",
    context: int | str | None = None,
    progress: Progress | None = None,
    *,
    memory: int | str | None = None,
    parallel: int | None = None,
    cache_memory: int | str | None = None,
    experts_per_token: int | None = None,
    record_routes: str | os.PathLike[str] | None = None,
    mmproj: str | os.PathLike[str] | None = None,
    max_image_tokens: int | None = None,
    video_fps: float | None = None,
    max_frames: int | None = None,
) -> Model:
    """Load a MODEL, as commands do: a GGUF file (the first of a split one), a Hugging Face folder, an embedded model,
    the name of a downloaded Hub repository ("org/name", "org/name:Q4_K_M") or of a store, or a short name of the
    catalogue ("qwen3.5:35b-a3b"). Nothing is downloaded.

    threads: default: one per physical core. kv_type: "f16", "f32" or "q8_0", the type of stored keys and values; it
    changes the logits. context: most tokens of a sequence (32768 or "32k"); default: as many as the model and free
    memory allow. progress: called with bytes loaded and in all. memory: most bytes of this process (a number, or
    "12GiB"); default: what is free. parallel: sequences at once, each of the whole context; default: as many as fit,
    up to 8. cache_memory: bytes of the prefix cache, or "share" for a part of free memory; default: only what running
    sequences leave free. experts_per_token: experts that each token uses, instead of the model's own number; it
    changes the answers. record_routes: a file that gets the numbers of the experts that each token uses
    (docs/streaming.md). mmproj: the GGUF file of the vision tower; default: the one beside the model that belongs to
    it. max_image_tokens: most tokens of a picture. video_fps, max_frames: how many frames of a video are read
    (docs/python.md).

    A mixture of experts that does not fit into the memory keeps as many experts there as fit, and reads the others from
    its files when a token needs them. Its answers are the same.

    Raises CheckpointError, TokenizerError, RequestError, and CapacityError before it loads anything; TypeError for
    arguments of another type.
    """
    if model == DEMO_SCRIPTED:
        from shoestring.runtime.scripted.demo import demo_scripted

        for name, value in (("experts_per_token", experts_per_token), ("record_routes", record_routes)):
            if value is not None:
                raise RequestError(f"{option(name)}: {DEMO_SCRIPTED} is a script, without experts: leave it out")
        return demo_scripted(
            None if context is None else tokens_of(context, option("context")),
            None if parallel is None else whole(parallel, option("parallel")),
        )
    return prepare(
        model,
        threads,
        kv_type,
        context,
        progress,
        memory=memory,
        parallel=parallel,
        cache_memory=cache_memory,
        experts_per_token=experts_per_token,
        record_routes=record_routes,
        mmproj=mmproj,
        max_image_tokens=max_image_tokens,
        video_fps=video_fps,
        max_frames=max_frames,
    ).load(progress)


@dataclass(frozen=True)
class Loaded:
    """Weights, experts, and where they stream: what reads them, and an embedding whose rows stay on disk."""

    weights: KernelWeights
    experts: Experts
    store: Store | None = None
    embedding: StoredEmbedding | None = None


def load_experts(opened: Opened, planned: Plan, progress: Progress) -> Loaded:
    """Load the weights; all experts too, or the slots for some of them."""
    if planned.streaming is None:
        weights, experts = load_weights(opened.config, opened.binding, progress)
        return Loaded(weights, experts)
    config, binding, layers = opened.config, opened.binding, opened.expert_sources
    slots, source = planned.streaming.slots, opened.stored_embedding
    read = resident_sources(config, binding, embedding=source is None)
    others = [item.tensor.file for item in (*read.values(), *([] if source is None else [source]))]
    store = open_store(layers, slots.arena_bytes + resident_bytes(read), warnings.warn, others=others)
    try:
        total = sum(map(stored_bytes, read.values()))
        packed = read_matrices(store, read, slots.arena_bytes, lambda done: progress(done, total))
        weights, _ = load_weights(config, binding, experts=False, embedding=source is None, packed=packed)
        embedding = None if source is None else StoredEmbedding(store, source)
        return Loaded(weights, StreamedExperts(store, layers, slots), store, embedding)
    except BaseException:
        store.close()
        raise


def text_side(opened: Opened) -> tuple[Tokenizer, ChatTemplate]:
    """Tokenizer and template, built beside the weights: a vocabulary takes as long as a gigabyte of weights."""
    from shoestring.checkpoint.text.chat_template import ChatTemplate
    from shoestring.checkpoint.text.tokenizer import Tokenizer

    tokenizer = Tokenizer.from_checkpoint(opened.checkpoint)
    return tokenizer, ChatTemplate.from_checkpoint(opened.checkpoint, tokenizer, opened.config.family)


#: More threads than this are a typo.
MOST_THREADS = 256


def checked_threads(threads: int) -> int:
    """Returns `threads`. Raises RequestError if it is not from 1 to MOST_THREADS."""
    if isinstance(threads, bool) or not isinstance(threads, int) or not 1 <= threads <= MOST_THREADS:
        raise RequestError(f"{option('threads')} is {threads!r}: choose a number from 1 to {MOST_THREADS}")
    return threads


def physical_cores() -> int:
    """Number of physical cores that this process may run on."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    cores = set()
    for cpu in allowed:
        try:
            with open(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list") as file:
                cores.add(file.read().strip())
        except OSError:
            cores.add(str(cpu))
    return max(1, len(cores))
