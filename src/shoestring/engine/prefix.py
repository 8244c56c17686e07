"""Prefix reuse: find the deepest position where a request can resume, fork its last page, merge equal nodes.

Sequences share a full page. They share a partly filled page by copying it, whole: a few megabytes of memory against
up to 63 tokens of prompt, and other sequences keep reading and writing the original. Nodes with the same tokens
merge, because the same tokens give the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence as Tokens
from dataclasses import dataclass

from shoestring.engine.tree import Node, Tree
from shoestring.models.state import PAGE_TOKENS


@dataclass(frozen=True)
class Match:
    """A cache hit: full pages `nodes`, a part of page `source`, and the state in `slot` (−1: zeros).

    others: another owner's full pages behind `nodes`, to be copied.
    """

    position: int = 0
    nodes: tuple[Node, ...] = ()
    source: Node | None = None
    slot: int = -1
    others: tuple[Node, ...] = ()


@dataclass(frozen=True)
class Copy:
    """Copy page `source` of a group to page `target` before the next step. chunk: of the chunk-local group."""

    chunk: bool
    source: int
    target: int


def match(tree: Tree, tokens: Tokens[int], limit: int, owner: str = "") -> Match:
    """The deepest position ≤ limit from which a sequence of `tokens` can resume, in its owner's entries."""
    path, lows = _full_pages(tree.root(owner), tokens)
    node, low = (path[-1], lows[-1]) if path else (tree.root(owner), 0)
    block = tokens[len(path) * PAGE_TOKENS : (len(path) + 1) * PAGE_TOKENS]
    best = Match()
    for child in node.children:
        place = _place(tree, child, child.start + common_prefix(child.tokens, block), limit, _chunk_low(child, low))
        best = max(best, Match(place, tuple(path), child, child.snapshots.get(place, -1)), key=_position)
    if best.position:
        return best
    for k in range(len(path) - 1, -1, -1):
        place = _place(tree, path[k], path[k].start + PAGE_TOKENS, limit, lows[k])
        if place:
            end = place // PAGE_TOKENS
            source = path[k] if place % PAGE_TOKENS else None
            return Match(place, tuple(path[:end]), source, path[k].snapshots.get(place, -1))
    return best


def match_others(tree: Tree, tokens: Tokens[int], limit: int, owner: str, own: Match) -> Match:
    """A hit that is deeper than `own` by entries of other owners, in whole strides; else `own`.

    Nothing finer than a stride may show: neither positions, nor whose snapshots lie between them.
    """
    step = math.lcm(tree.stride, PAGE_TOKENS)
    mine, mine_lows = _full_pages(tree.root(owner), tokens)
    best = own
    for name, root in tree.roots.items():
        path, lows = _full_pages(root, tokens) if name != owner else ([], [])
        for position in range(min(len(path) * PAGE_TOKENS, limit) // step * step, best.position, -step):
            count = position // PAGE_TOKENS
            shared = min(len(mine), count)
            start = tree.chunk_start(position)
            lacks_chunk = start < position and (
                lows[count - 1] > start or (shared * PAGE_TOKENS > start and mine_lows[shared - 1] > start)
            )
            slot = path[count - 1].snapshots.get(position, -1)
            if not lacks_chunk and (slot >= 0 or not tree.recurrent):
                best = Match(position, tuple(mine[:shared]), slot=slot, others=tuple(path[shared:count]))
                break
    return best


def _full_pages(root: Node, tokens: Tokens[int]) -> tuple[list[Node], list[int]]:
    """The full pages below a root that `tokens` begin with; and for each, from where on no chunk page is missing."""
    path: list[Node] = []
    lows: list[int] = []
    node, low = root, 0
    while True:
        block = tokens[len(path) * PAGE_TOKENS : (len(path) + 1) * PAGE_TOKENS]
        child = next((c for c in node.children if c.full and c.tokens == block), None)
        if child is None:
            return path, lows
        low = _chunk_low(child, low)
        path.append(child)
        lows.append(low)
        node = child


def _place(tree: Tree, node: Node, reach: int, limit: int, low: int) -> int:
    """The deepest position in the node up to `reach` where a sequence can resume; 0: none."""
    reach = min(reach, limit)
    if tree.recurrent:
        places = sorted((p for p in node.snapshots if p <= reach), reverse=True)
    else:
        places = [p for p in (reach, tree.chunk_start(reach)) if p > node.start]
    return next((p for p in places if tree.chunk_start(p) == p or tree.chunk_start(p) >= low), 0)


def can_fork(tree: Tree, source: Node) -> bool:
    """Whether `fork` can copy the node or take it."""
    return _can_copy(tree, source) or _is_free(source)


def fork(tree: Tree, source: Node, length: int, chunk: bool) -> tuple[Node, list[Copy]]:
    """A node with the first `length` tokens of `source`, which the caller may write on, and the copies that it needs.

    It is `source` itself if no other sequence needs the rest of it. chunk: copy the chunk page too.
    """
    if _is_free(source) and (len(source.tokens) == length or not _can_copy(tree, source)):
        for place in [p for p in source.snapshots if p > source.start + length]:
            tree.evict_snapshot(source.snapshots[place])
        del source.tokens[length:]
        tree.acquire(source)
        return source, []
    assert source.parent is not None
    node = tree.grow(source.parent, protected=source)
    node.tokens = source.tokens[:length]
    copies = [Copy(False, source.page, node.page)] if node.page >= 0 else []
    if chunk and not tree.pools.chunk_pages.free and tree.idle_chunks == {source}:
        tree.idle_chunks.remove(source)
        node.chunk_page, source.chunk_page = source.chunk_page, -1
        tree.idle_chunks.add(node)
    elif chunk:
        tree.add_chunk_page(node, source.chunk_from, protected=source)
        copies.append(Copy(True, source.chunk_page, node.chunk_page))
    node.chunk_from = source.chunk_from
    return node, copies


def _is_free(node: Node) -> bool:
    return not node.users and not node.children


def _can_copy(tree: Tree, source: Node) -> bool:
    return bool(tree.pools.global_pages.free or tree.leaves - {source}) or not tree.pools.capacity.global_pages


def settle(tree: Tree, node: Node) -> Node:
    """Merge a node that is no longer written on with siblings that share its tokens. Returns the one that stays."""
    assert node.parent is not None
    for other in [*node.parent.children]:
        if other is node:
            continue
        shorter, longer = sorted((node, other), key=lambda n: len(n.tokens))
        if shorter.tokens != longer.tokens[: len(shorter.tokens)] or not _covers_chunk_of(longer, shorter):
            continue
        if len(other.tokens) >= len(node.tokens):
            return _merge(tree, node, other)
        if _is_free(other) and len(other.tokens) < len(node.tokens):
            _merge(tree, other, node)
    return node


def _covers_chunk_of(longer: Node, shorter: Node) -> bool:
    if shorter.chunk_page < 0 or len(shorter.tokens) == len(longer.tokens):
        return True
    return longer.chunk_page >= 0 and longer.chunk_from <= shorter.chunk_from


def _merge(tree: Tree, node: Node, other: Node) -> Node:
    """Move the node's users, children, and whatever `other` lacks of its pages and snapshots to `other`."""
    for place, slot in [*node.snapshots.items()]:
        tree.detach_snapshot(slot)
        tree.add_snapshot(other, place, slot)
    chunk_users = node.chunk_users
    for _ in range(chunk_users):
        tree.release_chunk(node)
    if node.chunk_page >= 0 and other.chunk_page < 0:
        tree.idle_chunks.remove(node)
        other.chunk_page, other.chunk_from, node.chunk_page = node.chunk_page, node.chunk_from, -1
        tree.idle_chunks.add(other)
    for _ in range(chunk_users):
        tree.acquire_chunk(other)
    for child in node.children:
        child.parent = other
        other.children.append(child)
        tree.leaves.discard(other)
    node.children = []
    users = node.users
    for _ in range(users):
        tree.acquire(other)
    for _ in range(users):
        tree.release(node)
    if not users:
        other.used = max(other.used, node.used)
        tree.leaves.add(node)  # if its children went to the other
    tree.evict(node)
    return other


def _position(match: Match) -> int:
    return match.position


def _chunk_low(node: Node, low: int) -> int:
    """The first position up to whose node's end no chunk page is missing; `low`: that of the node's parent."""
    if node.chunk_page < 0:
        return node.start + PAGE_TOKENS
    return node.chunk_from if node.chunk_from > node.start else low


def common_prefix(a: Tokens[int], b: Tokens[int]) -> int:
    """Length of the longest common prefix of two sequences of one type, by bisection."""
    high = min(len(a), len(b))
    if a[:high] == b[:high]:
        return high
    low = 0
    while high - low > 1:
        middle = (low + high) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle
    return low
