"""Going on from what others have computed: the deepest place in the tree, a page to write on, twins made one.

A full page is shared as it is. One that is partly filled is shared by copying it, whole: a few megabytes of
memory against up to 63 tokens of prompt, and it leaves what others read and write alone. Nodes that come to hold
the same tokens become one, since the same tokens are the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence as Tokens
from dataclasses import dataclass

from shoestring.engine.tree import Node, Tree
from shoestring.models.state import PAGE_TOKENS


@dataclass(frozen=True)
class Match:
    """Where a request can go on: full pages `nodes`, the page `source` partly, the state in `slot` (−1: from zeros)."""

    position: int = 0
    nodes: tuple[Node, ...] = ()
    source: Node | None = None
    slot: int = -1


@dataclass(frozen=True)
class Copy:
    """To be made before the next step: page `target` of a group becomes what page `source` is."""

    chunk: bool
    source: int
    target: int


def match(tree: Tree, tokens: Tokens[int], limit: int) -> Match:
    """The deepest position ≤ limit from which `tokens` can go on with what is held."""
    path: list[Node] = []
    node, low = tree.root, 0
    lows: list[int] = []  # lows[k]: chunk pages are held without a gap from there to the end of page k
    while True:
        block = tokens[len(path) * PAGE_TOKENS : (len(path) + 1) * PAGE_TOKENS]
        child = next((c for c in node.children if c.full and c.tokens == block), None)
        if child is None:
            break
        low = _chunk_low(child, low)
        path.append(child)
        lows.append(low)
        node = child
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


def _place(tree: Tree, node: Node, reach: int, limit: int, low: int) -> int:
    """The deepest position in the node up to `reach` where a sequence can resume; 0: none."""
    reach = min(reach, limit)
    if tree.recurrent:
        places = sorted((p for p in node.snapshots if p <= reach), reverse=True)
    else:
        places = [p for p in (reach, tree.chunk_start(reach)) if p > node.start]
    return next((p for p in places if tree.chunk_start(p) == p or tree.chunk_start(p) >= low), 0)


def can_fork(tree: Tree, source: Node) -> bool:
    """Whether there is a page for a copy of the node, or the node itself can be had."""
    return _can_copy(tree, source) or _alone(source)


def fork(tree: Tree, source: Node, length: int, chunk: bool) -> tuple[Node, list[Copy]]:
    """A node with the first `length` tokens of `source` to go on writing in, and the copies to be made for it.

    It is `source` itself where nobody can miss the rest. chunk: the chunk page is needed too.
    """
    if _alone(source) and (len(source.tokens) == length or not _can_copy(tree, source)):
        for place in [p for p in source.snapshots if p > source.start + length]:
            tree.drop_snapshot(source.snapshots[place])
        del source.tokens[length:]
        tree.use(source)
        return source, []
    assert source.parent is not None
    node = tree.grow(source.parent, keep=source)
    node.tokens = source.tokens[:length]
    copies = [Copy(False, source.page, node.page)] if node.page >= 0 else []
    if chunk and not tree.pools.chunk_pages.free and tree.idle_chunks == {source}:
        tree.idle_chunks.remove(source)
        node.chunk_page, source.chunk_page = source.chunk_page, -1
        tree.idle_chunks.add(node)
    elif chunk:
        tree.hold_chunk(node, source.chunk_from, keep=source)
        copies.append(Copy(True, source.chunk_page, node.chunk_page))
    node.chunk_from = source.chunk_from
    return node, copies


def _alone(node: Node) -> bool:
    return not node.users and not node.children


def _can_copy(tree: Tree, source: Node) -> bool:
    return bool(tree.pools.global_pages.free or tree.leaves - {source}) or not tree.pools.capacity.global_pages


def settle(tree: Tree, node: Node) -> Node:
    """Make one of a node that nobody writes on and the siblings that begin as it does; returns the one that stays."""
    assert node.parent is not None
    for other in [*node.parent.children]:
        if other is node:
            continue
        shorter, longer = sorted((node, other), key=lambda n: len(n.tokens))
        if shorter.tokens != longer.tokens[: len(shorter.tokens)] or not _holds_chunk_of(longer, shorter):
            continue
        if len(other.tokens) >= len(node.tokens):
            return _merge(tree, node, other)
        if _alone(other) and len(other.tokens) < len(node.tokens):
            _merge(tree, other, node)
    return node


def _holds_chunk_of(longer: Node, shorter: Node) -> bool:
    if shorter.chunk_page < 0 or len(shorter.tokens) == len(longer.tokens):
        return True
    return longer.chunk_page >= 0 and longer.chunk_from <= shorter.chunk_from


def _merge(tree: Tree, node: Node, other: Node) -> Node:
    """All that the node holds and the other does not, and all its users, go to the other."""
    for place, slot in [*node.snapshots.items()]:
        tree.release_snapshot(slot)
        tree.keep_snapshot(other, place, slot)
    pinned = node.chunk_users
    for _ in range(pinned):
        tree.leave_chunk(node)
    if node.chunk_page >= 0 and other.chunk_page < 0:
        tree.idle_chunks.remove(node)
        other.chunk_page, other.chunk_from, node.chunk_page = node.chunk_page, node.chunk_from, -1
        tree.idle_chunks.add(other)
    for _ in range(pinned):
        tree.use_chunk(other)
    for child in node.children:
        child.parent = other
        other.children.append(child)
        tree.leaves.discard(other)
    node.children = []
    users = node.users
    for _ in range(users):
        tree.use(other)
    for _ in range(users):
        tree.leave(node)
    if not users:
        other.used = max(other.used, node.used)
        tree.leaves.add(node)  # if its children went to the other
    tree.remove(node)
    return other


def _position(match: Match) -> int:
    return match.position


def _chunk_low(node: Node, low: int) -> int:
    if node.chunk_page < 0:
        return node.start + PAGE_TOKENS
    return node.chunk_from if node.chunk_from > node.start else low


def common_prefix(a: Tokens[int], b: Tokens[int]) -> int:
    """Length of the longest common prefix of two lists."""
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
