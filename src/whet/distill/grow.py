"""Start a larger student where a smaller one of its family ended.

A network that is widened and deepened so that it computes what the small one did (Chen, Goodfellow
and Shlens, "Net2Net", ICLR 2016) begins with everything the small one has learned, and what is
new in it only has to find what is still to be gained. For a large student on a slow machine that is
the difference between a better and a worse one.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import cast

import torch
from torch import nn

from whet.errors import ModelError
from whet.models.students.realtime import Realtime, RepConv

__all__ = ["grow"]


@torch.no_grad()
def grow(small: Realtime, large: Realtime) -> None:
    """Make ``large``, freshly built, compute what ``small`` computes.

    New channels keep their random weights and are read by nobody yet; new blocks pass the old
    channels on; a new lower level adds nothing, as in every fresh student.

    Raises:
        ModelError: ``large`` has fewer levels, channels or blocks somewhere.
    """
    ours, theirs = small.config, large.config
    last = len(ours.widths) - 1
    widths = zip(ours.widths, theirs.widths, strict=False)
    if len(theirs.widths) <= last or any(mine > its for mine, its in widths):
        raise ModelError(f"a student of widths {theirs.widths} cannot hold one of {ours.widths}")
    _copy(small.head, large.head)
    _copy(small.tail, large.tail)
    for level in range(last):
        _copy(small.down[level], large.down[level])
        _copy(small.up[level], large.up[level])
        _blocks(_of(small.encoder[level]), _of(large.encoder[level]))
        _blocks(_of(small.decoder[level]), _of(large.decoder[level]), linear_end=level == 0)
    below = len(theirs.widths) - 1 > last
    # What was the bottom is passed on the way down and again on the way up where a level is new.
    deepest = [*_of(large.encoder[last]), *_of(large.decoder[last])] if below else _of(large.bottom)
    _blocks(_of(small.bottom), deepest)


def _of(blocks: nn.Module) -> list[RepConv]:
    return [block for block in cast(nn.Sequential, blocks) if isinstance(block, RepConv)]


def _blocks(
    small: Sequence[RepConv], large: Sequence[RepConv], *, linear_end: bool = False
) -> None:
    """Copy a row of blocks; those too many pass their input on.

    They stand after blocks whose ReLU has made it positive, so that their own changes nothing. The
    last block of a row with a linear end has none and stays the last.
    """
    if len(small) > len(large):
        raise ModelError(f"a row of {len(large)} blocks cannot hold one of {len(small)}")
    front, end = (small[:-1], small[-1:]) if linear_end else (small, small[:0])
    channels = small[0].wide.out_channels
    for block, given in zip_longest(large[: len(large) - len(end)], front):
        if given is None:
            _pass_on(block, channels)
        else:
            _copy(given.wide, block.wide)
            _copy(given.point, block.point)
    for block, given in zip(large[len(large) - len(end) :], end, strict=True):
        _copy(given.wide, block.wide)
        _copy(given.point, block.point)


def _copy(small: nn.Module, large: nn.Module) -> None:
    given, taking = cast(nn.Conv2d, small), cast(nn.Conv2d, large)
    rows, columns = given.weight.shape[:2]
    taking.weight[:rows, :columns] = given.weight
    taking.weight[:rows, columns:] = 0
    if taking.bias is not None and given.bias is not None:
        taking.bias[:rows] = given.bias


def _pass_on(block: RepConv, channels: int) -> None:
    """Let the first channels of a block be its identity branch alone."""
    assert block.wide.bias is not None
    for tensor in (block.wide.weight, block.wide.bias, block.point.weight):
        tensor[:channels] = 0
