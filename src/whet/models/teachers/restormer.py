"""Restormer, a teacher for motion blur, defocus blur, rain and noise.

Zamir et al., "Restormer: Efficient Transformer for High-Resolution Image
Restoration", CVPR 2022. Written here from the paper; parameters carry the names
of the official checkpoints, so these load strictly without a table of renames.

Attention runs between channels, over all pixels at once. A network trained on
patches therefore meets other statistics on a whole photograph than it learnt
from. ``tlc`` answers that with the test-time local converter of Chu et al.,
"Improving Image Restoration by Revisiting Global Information Aggregation",
ECCV 2022: attention is computed in windows about as large as a training patch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from whet.errors import InputError, ModelError
from whet.models.checkpoints import load_state, load_strict
from whet.models.teachers.restormer_blocks import Block, Norm, conv3, under

__all__ = ["OFFICIAL", "Layout", "Restormer", "infer_layout", "load_teacher"]

MULTIPLE = 8
"""Sides are padded to this: three halvings."""

TLC_WINDOW = 384
"""Pixels; Chu et al. take 1.5 times the 256-pixel training patch."""

_LEVELS = ("encoder_level1", "encoder_level2", "encoder_level3", "latent")


class Official(NamedTuple):
    """A checkpoint that the authors published, and what it must contain."""

    file: str
    norm: Norm
    dual_pixel: bool = False


OFFICIAL: Mapping[str, Official] = {
    "motion-deblurring": Official("motion_deblurring.pth", "WithBias"),
    "defocus-deblurring": Official("single_image_defocus_deblurring.pth", "WithBias"),
    "dual-pixel-defocus-deblurring": Official(
        "dual_pixel_defocus_deblurring.pth", "WithBias", dual_pixel=True
    ),
    "deraining": Official("deraining.pth", "WithBias"),
    "real-denoising": Official("real_denoising.pth", "BiasFree"),
    "gaussian-denoising": Official("gaussian_color_denoising_blind.pth", "BiasFree"),
}
"""Task -> the official RGB checkpoint for it."""

_SOURCE = "https://github.com/swz30/Restormer/releases/tag/v1.0"


@dataclass(frozen=True)
class Layout:
    """Sizes of a Restormer; the defaults are those of the paper and its deblurring weights.

    Attributes:
        dim: channels at full resolution; they double with every halving.
        blocks: transformer blocks of the three encoder levels and the latent one.
        refinement_blocks: transformer blocks after the decoder.
        heads: attention heads by level.
        expansion: width of the feed-forward part over that of its input.
        norm: "WithBias" centres and shifts (deblurring, deraining), "BiasFree" only scales
            (denoising).
        dual_pixel: the input is the left and the right view of a dual-pixel
            sensor, 6 channels; the output stays RGB.
    """

    dim: int = 48
    blocks: tuple[int, ...] = (4, 6, 6, 8)
    refinement_blocks: int = 4
    heads: tuple[int, ...] = (1, 2, 4, 8)
    expansion: float = 2.66
    norm: Norm = "WithBias"
    dual_pixel: bool = False

    @property
    def in_channels(self) -> int:
        """3, or 6 for two views."""
        return 6 if self.dual_pixel else 3


class Restormer(nn.Module):
    """float32 (N, 3, H, W) RGB in [0, 1], any size -> the same shape, unclamped.

    With ``layout.dual_pixel`` the input is (N, 6, H, W): left RGB, then right RGB.

    Args:
        layout: the sizes.
        window: None, or the side in pixels of the windows in which attention
            is computed; a multiple of :data:`MULTIPLE`. Where a picture fits
            into one window the result is exactly that without windows.

    Raises:
        ModelError: heads do not divide the channels.
        InputError: ``window`` is not such a multiple.
    """

    def __init__(self, layout: Layout | None = None, window: int | None = None) -> None:
        super().__init__()
        self.layout = layout = layout or Layout()
        if window is not None and (window < MULTIPLE or window % MULTIPLE):
            raise InputError(f"a window of {window} pixels; take a positive multiple of {MULTIPLE}")
        widths = [layout.dim << level for level in range(len(layout.heads))]
        if any(h < 1 or width % h for width, h in zip(widths, layout.heads, strict=True)):
            raise ModelError(f"{layout.dim} channels do not split into {layout.heads} heads")
        dim = layout.dim

        def stack(level: int, count: int, width: int) -> nn.Sequential:
            local = None if window is None else window >> level
            hidden = int(width * layout.expansion)
            return nn.Sequential(
                *(
                    Block(width, layout.heads[level], hidden, layout.norm, local)
                    for _ in range(count)
                )
            )

        first, second, third, fourth = layout.blocks
        self.patch_embed = under("proj", conv3(layout.in_channels, dim))
        self.encoder_level1 = stack(0, first, dim)
        self.down1_2 = _halve(dim)
        self.encoder_level2 = stack(1, second, 2 * dim)
        self.down2_3 = _halve(2 * dim)
        self.encoder_level3 = stack(2, third, 4 * dim)
        self.down3_4 = _halve(4 * dim)
        self.latent = stack(3, fourth, 8 * dim)
        self.up4_3 = _double(8 * dim)
        self.reduce_chan_level3 = nn.Conv2d(8 * dim, 4 * dim, 1, bias=False)
        self.decoder_level3 = stack(2, third, 4 * dim)
        self.up3_2 = _double(4 * dim)
        self.reduce_chan_level2 = nn.Conv2d(4 * dim, 2 * dim, 1, bias=False)
        self.decoder_level2 = stack(1, second, 2 * dim)
        self.up2_1 = _double(2 * dim)
        # The last level keeps the width that joining with its skip gives it.
        self.decoder_level1 = stack(0, first, 2 * dim)
        self.refinement = stack(0, layout.refinement_blocks, 2 * dim)
        if layout.dual_pixel:
            self.skip_conv = nn.Conv2d(dim, 2 * dim, 1, bias=False)
        self.output = conv3(2 * dim, 3)

    def forward(self, degraded: Tensor) -> Tensor:
        """Restore a batch; see the class for shapes.

        Raises:
            InputError: the number of channels is not that of the layout.
        """
        channels, height, width = degraded.shape[-3:]
        if channels != self.layout.in_channels:
            raise InputError(
                f"this Restormer takes {self.layout.in_channels} channels, not {channels}; "
                "use weights made for such pictures"
            )
        padded = _reflect(_reflect(degraded, dim=-2), dim=-1)
        return self._restore(padded)[..., :height, :width]

    def _restore(self, x: Tensor) -> Tensor:
        """Restore a batch whose sides are multiples of :data:`MULTIPLE`."""
        embedded = self.patch_embed(x)
        full = self.encoder_level1(embedded)
        half = self.encoder_level2(self.down1_2(full))
        quarter = self.encoder_level3(self.down2_3(half))
        eighth = self.latent(self.down3_4(quarter))

        joined = torch.cat((self.up4_3(eighth), quarter), dim=1)
        quarter = self.decoder_level3(self.reduce_chan_level3(joined))
        joined = torch.cat((self.up3_2(quarter), half), dim=1)
        half = self.decoder_level2(self.reduce_chan_level2(joined))
        joined = torch.cat((self.up2_1(half), full), dim=1)
        features = self.refinement(self.decoder_level1(joined))

        # Two views have no single picture to add a residual to: the skip
        # joins in feature space instead.
        if self.layout.dual_pixel:
            restored: Tensor = self.output(features + self.skip_conv(embedded))
            return restored
        residual: Tensor = self.output(features)
        return x + residual


def load_teacher(
    weights: Path | None,
    task: str | None = None,
    tlc: bool = False,
    base_size: int = TLC_WINDOW,
) -> Restormer:
    """Return a frozen Restormer in eval mode, with the layout that ``weights`` imply.

    Args:
        weights: an official checkpoint, or any with the same key names.
        task: a key of :data:`OFFICIAL`; weights of another kind are then refused.
        tlc: compute attention in windows (see the module).
        base_size: side of these windows in pixels.

    Raises:
        ModelError: weights are absent, unsafe, of another network, or not for ``task``.
        InputError: ``task`` or ``base_size`` is not possible.
    """
    if task is not None and task not in OFFICIAL:
        raise InputError(f"Restormer has no task {task!r}; choose one of: {', '.join(OFFICIAL)}")
    if weights is None:
        raise ModelError(
            "Restormer's weights are not distributed with whet; download "
            f"{OFFICIAL[task or 'motion-deblurring'].file} from {_SOURCE}, "
            "mind its licence, and give the path of the file"
        )
    state = load_state(weights)
    layout = infer_layout(state, source=str(weights))
    if task is not None:
        expected = OFFICIAL[task]
        if (layout.norm, layout.dual_pixel) != (expected.norm, expected.dual_pixel):
            raise ModelError(f"{weights}: not weights for {task}; use {expected.file}")
    model = Restormer(layout, window=base_size if tlc else None)
    load_strict(model, state, source=str(weights))
    return model.eval().requires_grad_(False)


def infer_layout(state: Mapping[str, Tensor], source: str) -> Layout:
    """Return the layout of the network that a state dict was taken from.

    Raises:
        ModelError: it is no Restormer's, or one of grey pictures.
    """
    try:
        dim, channels = state["patch_embed.proj.weight"].shape[:2]
        heads = tuple(state[f"{level}.0.attn.temperature"].shape[0] for level in _LEVELS)
    except (KeyError, IndexError, ValueError) as error:
        raise ModelError(f"{source}: not weights of a Restormer; use one from {_SOURCE}") from error
    if channels == 1:
        raise ModelError(f"{source}: trained on grey pictures; use a checkpoint for RGB")

    def count(level: str) -> int:
        return len({key.split(".")[1] for key in state if key.startswith(f"{level}.")})

    return Layout(
        dim=dim,
        blocks=tuple(count(level) for level in _LEVELS),
        refinement_blocks=count("refinement"),
        heads=heads,
        norm="WithBias" if "encoder_level1.0.norm1.body.bias" in state else "BiasFree",
        dual_pixel="skip_conv.weight" in state,
    )


def _halve(width: int) -> nn.Sequential:
    """(N, C, H, W) -> (N, 2C, H/2, W/2); pixels move into channels, none is dropped."""
    return under("body", nn.Sequential(conv3(width, width // 2), nn.PixelUnshuffle(2)))


def _double(width: int) -> nn.Sequential:
    """(N, C, H, W) -> (N, C/2, 2H, 2W)."""
    return under("body", nn.Sequential(conv3(width, 2 * width), nn.PixelShuffle(2)))


def _reflect(x: Tensor, dim: int) -> Tensor:
    """Extend ``dim`` at its end to the next multiple by mirroring, whatever its length."""
    size = x.shape[dim]
    if size % MULTIPLE == 0:
        return x
    # Positions of a path that walks to the last pixel and back, again and
    # again; F.pad reflects only once and so fails on pictures of a few pixels.
    period = max(2 * (size - 1), 1)
    position = torch.arange(size + -size % MULTIPLE, device=x.device) % period
    return x.index_select(dim, torch.minimum(position, period - position))
