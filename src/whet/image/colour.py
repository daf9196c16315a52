"""What the numbers of a picture mean: CICP code points, gamma, ICC profiles, and sRGB.

CICP is ITU-T H.273; a PNG says it in cICP, AVIF and HEIC in nclx. A format that
cannot say it gets an ICC profile of the same meaning; one that holds no profile
either gets sRGB pixels. High dynamic range fits neither and is refused there.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whet.errors import ImageError
from whet.image.metadata import Cicp, Picture, Pixels

__all__ = ["described", "gamma_profile", "in_srgb", "is_srgb", "profile_fits", "profile_of"]

_D65 = (0.3127, 0.3290)
_PRIMARIES: dict[int, tuple[float, ...]] = {
    1: (*_D65, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06),  # BT.709, sRGB
    4: (0.310, 0.316, 0.67, 0.33, 0.21, 0.71, 0.14, 0.08),  # BT.470 M
    5: (*_D65, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06),  # BT.601, 625 lines
    6: (*_D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),  # BT.601, 525 lines
    7: (*_D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),  # SMPTE 240M
    9: (*_D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),  # BT.2020
    11: (0.314, 0.351, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),  # SMPTE RP 431-2
    12: (*_D65, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),  # SMPTE EG 432-1, Display P3
    22: (*_D65, 0.630, 0.340, 0.295, 0.605, 0.155, 0.077),  # EBU 3213
}
"""H.273 table 2: white point, red, green and blue as x, y."""

_GAMMAS = {4: 2.2, 5: 2.8, 8: 1.0, 17: 2.6}
_BT709 = (1, 6, 14, 15)
_SRGB = 13
_HDR = {16: "PQ", 18: "HLG"}
_UNSPECIFIED = 2
_CURVE_POINTS = 1024


def described(cicp: Cicp | None) -> bool:
    """Whether code points say more than that nothing is known."""
    return cicp is not None and (cicp.primaries, cicp.transfer) != (_UNSPECIFIED, _UNSPECIFIED)


def is_hdr(cicp: Cicp | None) -> bool:
    """Whether the transfer is of high dynamic range, PQ or HLG."""
    return cicp is not None and cicp.transfer in _HDR


def profile_of(cicp: Cicp, *, gray: bool) -> bytes | None:
    """Return an ICC profile of the same meaning, or None for sRGB.

    Raises:
        ImageError: no profile can say it: high dynamic range, or unknown code points.
    """
    if cicp.transfer in _HDR:
        raise ImageError(
            f"the picture is of high dynamic range ({_HDR[cicp.transfer]}), which only PNG, AVIF "
            "and HEIC can say; write a .png, .avif or .heic"
        )
    primaries = 1 if cicp.primaries == _UNSPECIFIED else cicp.primaries
    transfer = _SRGB if cicp.transfer == _UNSPECIFIED else cicp.transfer
    if (primaries, transfer) == (1, _SRGB):
        return None
    if primaries not in _PRIMARIES or transfer not in (*_BT709, _SRGB, *_GAMMAS):
        raise ImageError(
            f"the picture's colours have the code points {cicp.primaries}/{cicp.transfer}, which "
            "no colour profile can say; write a .png, .avif or .heic"
        )
    if transfer in _GAMMAS:
        return _profile(_PRIMARIES[primaries], gray, gamma=_GAMMAS[transfer])
    return _profile(_PRIMARIES[primaries], gray, curve=_light(transfer))


def gamma_profile(
    gamma: float, chromaticities: tuple[float, ...] | None, *, gray: bool
) -> bytes | None:
    """Return the ICC profile of a PNG's gAMA and cHRM, or None where they say sRGB.

    Args:
        gamma: exponent from light to samples, 1/2.2 for most.
        chromaticities: white point, red, green and blue as x, y; None for those of sRGB.
        gray: whether the profile is for one channel.
    """
    usual = chromaticities is None or np.allclose(chromaticities, _PRIMARIES[1], atol=0.002)
    if usual and abs(gamma - 1 / 2.2) < 0.005:
        return None
    return _profile(chromaticities or _PRIMARIES[1], gray, gamma=1 / gamma)


def _light(transfer: int) -> NDArray[np.uint16]:
    """Tabulate samples to light (IEC 61966-2-1; BT.709 with the constants of H.273)."""
    x = np.linspace(0, 1, _CURVE_POINTS)
    if transfer == _SRGB:
        light = np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
    else:
        light = np.where(x < 0.081, x / 4.5, ((x + 0.099) / 1.099) ** (1 / 0.45))
    table: NDArray[np.uint16] = np.rint(light * 65535).astype(np.uint16)
    return table


def _profile(
    primaries: tuple[float, ...],
    gray: bool,
    gamma: float | None = None,
    curve: NDArray[np.uint16] | None = None,
) -> bytes:
    import imagecodecs

    options: dict[str, Any] = {"whitepoint": primaries[:2]}
    options |= {"gamma": gamma} if curve is None else {"transferfunction": curve}
    if not gray:
        options["primaries"] = primaries[2:]
    profile = bytes(imagecodecs.cms_profile("gray" if gray else "rgb", **options))
    # The header names the moment of making (ICC.1, 7.2.8); the same picture gives the same file.
    return profile[:24] + bytes([7, 208, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0]) + profile[36:]


def profile_fits(icc: bytes, *, gray: bool) -> bool:
    """Whether an ICC profile describes pixels of this kind (ICC.1, 7.2.5 and 7.2.6)."""
    if len(icc) < 132 or icc[36:40] != b"acsp" or icc[12:16] in (b"link", b"abst", b"nmcl"):
        return False
    return icc[16:20] in ((b"GRAY", b"RGB ") if gray else (b"RGB ",))


def is_srgb(icc: bytes) -> bool:
    """Whether a profile means sRGB, within one of 255 levels."""
    steps = np.linspace(0, 255, 6).round().astype(np.uint8)
    if icc[16:20] == b"GRAY":
        grid: Pixels = steps.reshape(1, 6, 1).repeat(3, axis=2)
    else:
        grid = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(1, -1, 3)
    try:
        shown = _transformed(grid, icc)
    except ImageError:
        return False
    return bool(np.abs(shown.astype(int) - grid).max() <= 1)


def in_srgb(picture: Picture) -> Picture:
    """Return a picture whose ICC profile is applied, so that its numbers mean sRGB.

    Raises:
        ImageError: the profile cannot be applied.
    """
    icc = picture.metadata.icc
    if icc is None:
        return picture
    pixels = _transformed(picture.pixels, icc)
    return replace(picture, pixels=pixels, metadata=replace(picture.metadata, icc=None))


def _transformed(pixels: Pixels, icc: bytes) -> Pixels:
    import imagecodecs

    gray = icc[16:20] == b"GRAY"
    source = np.ascontiguousarray(pixels[..., 0] if gray else pixels)
    try:
        shown = imagecodecs.cms_transform(
            source,
            icc,
            imagecodecs.cms_profile("srgb"),
            colorspace="minisblack" if gray else "rgb",
            outcolorspace="rgb",
        )
    except Exception as error:
        raise ImageError(
            f"the picture's colour profile cannot be applied ({error}); write a .png or .tif"
        ) from error
    return np.asarray(shown).reshape(pixels.shape)
