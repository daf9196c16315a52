"""Video of every depth and sampling through a real model, each frame beside its source."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from still_frames import decoded, encoded, moving, psnr, values

from whet.runtime import Session, available, open_session
from whet.video.run import restore_video

FORMATS = [
    ("libx264", "yuv420p10le", "a.mp4"),
    ("libx265", "yuv420p10le", "a.mov"),
    ("libx265", "yuv422p12le", "a.mkv"),
    ("libx264", "yuv422p10le", "a.mp4"),
    ("libx264", "yuv444p10le", "a.mkv"),
    ("ffv1", "gray10le", "a.mkv"),
    ("ffv1", "gray", "a.mkv"),
    ("prores_ks", "yuv422p10le", "a.mov"),
    ("libx264", "yuv422p", "a.mp4"),
    ("libx264", "yuv444p", "a.mkv"),
    ("ffv1", "yuv411p", "a.mkv"),
]
LOSSLESS = {"libx264": {"crf": "1"}, "libx265": {"crf": "2", "x265-params": "log-level=none"}}


@pytest.fixture(scope="module", params=available())
def session(request: pytest.FixtureRequest) -> Session:
    return open_session("nano", runtime=request.param, threads=1)


@pytest.mark.parametrize(("codec", "pixel_format", "name"), FORMATS)
def test_every_frame_is_near_its_source(
    session: Session, codec: str, pixel_format: str, name: str, tmp_path: Path
) -> None:
    pictures = [moving(index, 64, 80) for index in range(6)]
    if pixel_format.startswith("gray"):
        pictures = [np.repeat(picture[..., :1], 3, axis=-1) for picture in pictures]
    options = LOSSLESS.get(codec, {})
    source = encoded(
        tmp_path / name, pictures, codec=codec, pixel_format=pixel_format, options=options
    )
    target = tmp_path / f"b{source.suffix}"
    for strength, least in ((1.0, 30), (0.0, 45)):
        report = restore_video(
            session, source, target, strength=strength, crf=2, gate=False, overwrite=True
        )
        assert report.frames == 6
        if pixel_format in ("gray", "yuv411p"):  # H.264 says it in other words
            pairs = zip(decoded(source), decoded(target), strict=True)
            for before, after in pairs:
                error = values(before) - values(after)
                assert 10 * np.log10(255**2 / max(np.mean(error**2), 1e-12)) > least
        else:
            assert min(psnr(source, target)) > least


def test_depth_and_sampling_are_kept_by_the_usual_codec(tmp_path: Path) -> None:
    session = open_session("nano", threads=1)
    pictures = [moving(index, 48, 64) for index in range(2)]
    expected = {
        ("prores_ks", "yuv422p10le", ".mov"): ("hevc", "yuv422p10le"),
        ("libx265", "yuv420p", ".mp4"): ("hevc", "yuv420p"),
        ("libx264", "yuv420p10le", ".mkv"): ("hevc", "yuv420p10le"),
        ("libx264", "yuv420p", ".mkv"): ("h264", "yuv420p"),
        ("ffv1", "yuv420p10le", ".webm"): ("av1", "yuv420p10le"),
        ("ffv1", "gbrp10le", ".mkv"): ("hevc", "yuv444p10le"),
    }
    for (codec, pixel_format, suffix), wanted in expected.items():
        folder = tmp_path / f"{codec}-{pixel_format}{suffix}"
        folder.mkdir()
        held = ".mkv" if suffix == ".webm" else suffix
        source = encoded(folder / f"a{held}", pictures, codec=codec, pixel_format=pixel_format)
        made = restore_video(session, source, folder / f"b{suffix}", gate=False)
        frame = next(decoded(made.target))
        assert (_codec(made.target), frame.format.name) == wanted


def _codec(path: Path) -> str:
    import av

    with av.open(str(path)) as container:
        return str(container.streams.video[0].codec_context.codec.canonical_name)


def test_values_beyond_black_and_white_are_not_clipped(tmp_path: Path) -> None:
    """RGB holds none of them; the change that restoration makes is added to what they are."""
    ramp = np.tile(np.linspace(0, 255, 64), (48, 1))

    def frame(kind: str) -> object:
        import av

        made = av.VideoFrame(64, 48, kind)
        for index, plane in enumerate(made.planes):
            rows = np.frombuffer(plane, np.uint8).reshape(plane.height, -1)
            rows[:, : plane.width] = ramp[:, : plane.width] if index == 0 else 128
        return made

    for kind in ("yuv422p", "yuv444p"):
        source = encoded(
            tmp_path / f"{kind}.mkv",
            [frame(kind) for _ in range(3)],
            pixel_format=kind,
            options={"qp": "0"},
            color_range=1,
        )
        made = restore_video(open_session("nano", threads=1), source, tmp_path / f"{kind}-b.mkv",
                             crf=1, gate=False)  # fmt: skip
        luma = values(next(decoded(made.target)))
        assert luma.min() < 6
        assert luma.max() > 249
