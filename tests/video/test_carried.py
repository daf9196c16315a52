"""What goes with the picture: streams, side data, tags and flags, read back from the result."""

from __future__ import annotations

import shutil
import struct
import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from still_frames import decoded, encoded, moving, values

from clips import Identity, clip, packets, restored
from whet.errors import MediaError
from whet.runtime import open_session
from whet.video.decode.fields import Copier
from whet.video.encode.carried import carried
from whet.video.run import restore_video

MASTERING = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
HDR = {"color_primaries": 9, "color_trc": 16, "colorspace": 9, "color_range": 1}


def stream_facts(path: Path) -> list[tuple[str, str, int]]:
    with av.open(str(path)) as container:
        return [
            (
                stream.type,
                stream.codec_context.codec.canonical_name if stream.codec_context else "",
                int(stream.disposition),
            )
            for stream in container.streams
        ]


def with_cover(path: Path) -> Path:
    """Write a clip with cover art."""
    import io

    from PIL import Image

    picture = io.BytesIO()
    Image.new("RGB", (40, 40), (200, 30, 60)).save(picture, "JPEG")
    plain = clip(path.with_name("plain.mkv"), count=4)
    with av.open(str(plain)) as old, av.open(str(path), "w") as new:
        copies = {s.index: new.add_stream_from_template(s, opaque=True) for s in old.streams}
        if path.suffix == ".mkv":
            new.add_attachment("cover.jpg", "image/jpeg", picture.getvalue())
        else:
            cover: Any = new.add_mux_stream("mjpeg", width=40, height=40)
            cover.disposition = 1024
        for packet in old.demux():
            if packet.size:
                packet.stream = copies[packet.stream_index]
                new.mux_one(packet)
        if path.suffix != ".mkv":
            packet = av.Packet(picture.getvalue())
            packet.stream = cover
            new.mux_one(packet)
    return path


@pytest.mark.parametrize("source", ["a.mkv", "a.mp4"])
@pytest.mark.parametrize("target", ["b.mkv", "b.mp4"])
@pytest.mark.parametrize("resume", [False, True])
def test_cover_art_stays_cover_art(source: str, target: str, resume: bool, tmp_path: Path) -> None:
    path = with_cover(tmp_path / source)
    made = restored(path, tmp_path / target, resume=resume)
    assert made.notes == ()
    assert ("video", "mjpeg", 1024) in stream_facts(made.target)
    assert len(stream_facts(made.target)) == 3
    before, after = (_cover(file) for file in (path, made.target))
    assert after == before


def _cover(path: Path) -> bytes:
    with av.open(str(path)) as container:
        stream = next(s for s in container.streams.video if int(s.disposition) & 1024)
        return next(bytes(packet) for packet in container.demux(stream) if packet.size)


def test_cover_art_that_no_container_holds_is_said(tmp_path: Path) -> None:
    made = restored(with_cover(tmp_path / "a.mkv"), tmp_path / "b.mov")
    assert [note for note in made.notes if "cover art" in note] == [
        "cover art was left out; mov holds none"
    ]


def test_light_levels_of_hdr_are_kept(tmp_path: Path) -> None:
    pictures = [moving(index, 48, 64) for index in range(3)]
    options = {"x265-params": f"log-level=none:master-display={MASTERING}:max-cll=1000,400"}
    source = encoded(
        tmp_path / "a.mp4",
        pictures,
        codec="libx265",
        pixel_format="yuv420p10le",
        options=options,
        **HDR,
    )
    wanted = carried(next(decoded(source)))
    assert struct.unpack("=2I", wanted["CONTENT_LIGHT_LEVEL"]) == (1000, 400)
    for codec, suffix in ((None, ".mov"), ("av1", ".mkv"), ("h264", ".mkv")):
        made = restore_video(Identity(), source, tmp_path / f"b{suffix}", codec=codec,
                             overwrite=True)  # fmt: skip
        found = carried(next(decoded(made.target)))
        assert _light(found["MASTERING_DISPLAY_METADATA"]) == pytest.approx(
            _light(wanted["MASTERING_DISPLAY_METADATA"]), rel=1e-2, abs=1e-4
        )
        assert found["CONTENT_LIGHT_LEVEL"] == wanted["CONTENT_LIGHT_LEVEL"]
        assert "mastering display" in made.same
        with av.open(str(made.target)) as container:
            context = container.streams.video[0].codec_context
            assert {name: int(getattr(context, name)) for name in HDR} == HDR


def _light(data: bytes) -> list[float]:
    numbers = struct.unpack("=22i", data)
    return [above / below for above, below in zip(numbers[:20:2], numbers[1:20:2], strict=True)]


def test_what_an_encoder_cannot_carry_is_said(tmp_path: Path) -> None:
    pictures = [moving(index, 48, 64) for index in range(3)]
    options = {"x265-params": f"log-level=none:master-display={MASTERING}:max-cll=1000,400"}
    source = encoded(
        tmp_path / "a.mkv", pictures, codec="libx265", pixel_format="yuv420p10le", options=options
    )
    made = restore_video(Identity(), source, tmp_path / "b.mkv", codec="vp9")
    assert any("mastering display could not be kept" in note for note in made.notes)
    assert any("8 bits per channel" in note for note in made.notes)
    assert set(made.lost) == {"mastering display", "content light level"}


@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_closed_captions_stay_in_their_frames(codec: str, tmp_path: Path) -> None:
    source = _captioned(tmp_path / "a.ts")
    texts = [carried(frame).get("A53_CC") for frame in decoded(source)]
    assert len(set(texts)) > 3
    made = restore_video(open_session("nano", threads=1), source, tmp_path / "b.mp4", codec=codec)
    assert [carried(frame).get("A53_CC") for frame in decoded(made.target)] == texts
    assert made.notes == ()


def test_captions_that_are_lost_are_said(tmp_path: Path) -> None:
    made = restored(_captioned(tmp_path / "a.ts"), tmp_path / "b.mkv", codec="av1", crf=40,
                    preset="12")  # fmt: skip
    assert any("closed captions could not be kept" in note for note in made.notes)


def _captioned(path: Path) -> Path:
    """Write MPEG-2 video, and put CEA-708 captions into the user data of its frames."""
    plain = encoded(
        path.with_suffix(".m2v"), [moving(i, 48, 64) for i in range(6)], codec="mpeg2video",
        options={"bf": "0"},
    )  # fmt: skip
    made, *pieces = plain.read_bytes().split(b"\x00\x00\x01\x00")
    for index, piece in enumerate(pieces):
        # Behind the picture's header and its extension, before its first slice.
        at = piece.index(b"\x00\x00\x01\x01")
        captions = b"".join(
            bytes([0xFC, 0x80 | (0x41 + index), 0x80 | (0x51 + n)]) for n in range(2)
        )
        user = b"\x00\x00\x01\xb2GA94\x03" + bytes([0x40 | 2, 0xFF]) + captions + b"\xff"
        made += b"\x00\x00\x01\x00" + piece[:at] + user + piece[at:]
    path.with_suffix(".m2v").write_bytes(made)
    with av.open(str(path.with_suffix(".m2v"))) as old, av.open(str(path), "w") as new:
        copy = new.add_stream_from_template(old.streams.video[0], opaque=True)
        for number, packet in enumerate(p for p in old.demux(video=0) if p.size):
            packet.pts = packet.dts = number * 3600
            packet.time_base, packet.stream = Fraction(1, 90000), copy
            new.mux_one(packet)
    return path


def test_transparency_of_vp9_is_kept_in_webm_and_said_elsewhere(tmp_path: Path) -> None:
    def frame(index: int) -> Any:
        made = av.VideoFrame.from_ndarray(moving(index, 48, 64), "rgb48le")
        made = made.reformat(format="yuva420p")
        rows = np.frombuffer(made.planes[3], np.uint8).reshape(48, -1)
        rows[:] = 255
        rows[: 10 + index] = 90
        return made

    source = encoded(
        tmp_path / "a.webm",
        [frame(index) for index in range(4)],
        codec="libvpx-vp9",
        pixel_format="yuva420p",
        options={"crf": "10", "b:v": "0"},
    )
    made = restore_video(open_session("nano", threads=1), source, tmp_path / "b.webm", crf=10)
    assert made.notes == ()
    pairs = list(zip(_alpha(source), _alpha(made.target), strict=True))
    assert len(pairs) == 4
    for before, after in pairs:
        assert before.min() < 100
        assert np.abs(before - after).mean() < 2
    for name, resume in (("b.mp4", False), ("c.webm", True)):
        made = restore_video(Identity(), source, tmp_path / name, resume=resume)
        assert any("transparency of 4 frames was left out" in note for note in made.notes)
        with av.open(str(made.target)) as container:
            tags = {key.lower() for key in container.streams.video[0].metadata}
        assert "alpha_mode" not in tags


def _alpha(path: Path) -> list[Any]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        decoder: Any = av.codec.Codec("libvpx-vp9", "r").create("video")
        frames = [
            frame
            for packet in container.demux(stream)
            for frame in decoder.decode(packet if packet.size else None)
        ]
        return [values(frame, 3) for frame in frames]


def test_opaque_animations_and_grey_video_draw_no_note_about_transparency(tmp_path: Path) -> None:
    from PIL import Image

    frames = [Image.fromarray((moving(i, 40, 52) >> 8).astype(np.uint8)) for i in range(3)]
    for name in ("a.gif", "a.webp"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], duration=80)
        made = restored(tmp_path / name, tmp_path / f"{name}.mp4")
        assert made.frames == 3
        assert not any("transparency" in note for note in made.notes)
    grey = [np.repeat(moving(i, 48, 64)[..., :1], 3, axis=-1) for i in range(3)]
    source = encoded(tmp_path / "g.mkv", grey, codec="ffv1", pixel_format="gray")
    made = restored(source, tmp_path / "h.mkv")
    assert made.notes == ()
    last = list(decoded(made.target))[-1]
    assert all(np.ptp(values(last, i)) == 0 for i in range(1, len(last.planes)))


def test_an_animated_webp_keeps_its_times_and_its_transparency_in_webm(tmp_path: Path) -> None:
    from PIL import Image

    frames = []
    for index in range(4):
        picture = Image.fromarray((moving(index, 40, 52) >> 8).astype(np.uint8)).convert("RGBA")
        picture.putalpha(Image.new("L", (52, 40), 120))
        frames.append(picture)
    frames[0].save(tmp_path / "a.webp", save_all=True, append_images=frames[1:],
                   duration=[40, 200, 80, 60], lossless=True)  # fmt: skip
    made = restored(tmp_path / "a.webp", tmp_path / "b.webm", crf=10, preset=None)
    assert [round(frame.time, 3) for frame in decoded(made.target)] == [0, 0.04, 0.24, 0.32]
    assert all(abs(plane - 120).max() < 6 for plane in _alpha(made.target))


def test_rgb_becomes_yuv_that_says_so(tmp_path: Path) -> None:
    pictures = [moving(index, 48, 64) for index in range(3)]
    source = encoded(
        tmp_path / "a.mkv", pictures, codec="libx264rgb", pixel_format="bgr0", options={"crf": "1"}
    )
    made = restored(source, tmp_path / "b.mkv", crf=1)
    frame = next(decoded(made.target))
    assert (frame.format.name, int(frame.colorspace), int(frame.color_range)) == ("yuv444p", 1, 1)
    seen = frame.reformat(format="rgb24", src_colorspace=1).to_ndarray().astype(int)
    assert np.abs(seen - (pictures[0] >> 8)).mean() < 2
    kept = restored(source, tmp_path / "c.mkv", codec="ffv1", crf=None, preset=None)
    assert next(decoded(kept.target)).format.name == "bgr0"


def test_hevc_in_mp4_is_tagged_for_every_player_and_its_index_comes_first(tmp_path: Path) -> None:
    source = clip(tmp_path / "a.mkv", codec="libx265", count=4)
    for suffix in (".mp4", ".mov"):
        made = restored(source, tmp_path / f"b{suffix}")
        data = made.target.read_bytes()
        assert b"hvc1" in data
        assert b"hev1" not in data
        assert data.index(b"moov") < data.index(b"mdat")


def test_stale_statistics_go_and_other_tags_stay(tmp_path: Path) -> None:
    source = tmp_path / "a.mkv"
    stale = {
        "BPS": "1",
        "NUMBER_OF_FRAMES": "99",
        "_STATISTICS_TAGS": "BPS",
        "NUMBER_OF_BYTES": "7",
    }
    with (
        av.open(str(clip(tmp_path / "plain.mkv", count=4))) as old,
        av.open(str(source), "w") as new,
    ):
        copies = {s.index: new.add_stream_from_template(s, opaque=True) for s in old.streams}
        for copy in copies.values():
            copy.metadata.update({**stale, "language": "fin", "title": "Main"})
        for packet in old.demux():
            if packet.size:
                packet.stream = copies[packet.stream_index]
                new.mux_one(packet)
    made = restored(source, tmp_path / "b.mkv")
    with av.open(str(made.target)) as container:
        for stream in container.streams:
            assert not stale.keys() & stream.metadata.keys()
            assert (stream.metadata["language"], stream.metadata["title"]) == ("fin", "Main")


def test_dispositions_stay(tmp_path: Path) -> None:
    first, second = (clip(tmp_path / name, count=4) for name in ("x.mkv", "y.mkv"))
    source = tmp_path / "a.mkv"
    with (
        av.open(str(first)) as one,
        av.open(str(second)) as other,
        av.open(str(source), "w") as new,
    ):
        copies = [
            new.add_stream_from_template(c.streams.video[0], opaque=True) for c in (one, other)
        ]
        copies[0].disposition, copies[1].disposition = 0, 1
        for container, copy in ((one, copies[0]), (other, copies[1])):
            for packet in container.demux(video=0):
                if packet.size:
                    packet.stream = copy
                    new.mux_one(packet)
    made = restored(source, tmp_path / "b.mkv")
    assert [d for *_, d in stream_facts(made.target)] == [d for *_, d in stream_facts(source)]


@pytest.mark.parametrize(
    ("source", "target", "codec"),
    [("a.mkv", "b.mp4", "mov_text"), ("a.mkv", "b.mov", "mov_text"), ("a.mkv", "b.webm", "webvtt"),
     ("m.mp4", "b.mkv", "subrip")],
)  # fmt: skip
def test_text_subtitles_are_converted(source: str, target: str, codec: str, tmp_path: Path) -> None:
    path = clip(tmp_path / "a.mkv", subtitles=True, sound=False)
    if source == "m.mp4":
        path = restored(path, tmp_path / source).target
    made = restored(path, tmp_path / target, preset=None)
    assert any("subtitles became" in note for note in made.notes)
    assert ("subtitle", codec) in [facts[:2] for facts in stream_facts(made.target)]
    with av.open(str(made.target)) as container:
        stream = container.streams.subtitles[0]
        lines = {}
        for packet in container.demux(stream):
            for text in stream.decode(packet) if packet.size else ():
                lines[round(float(packet.pts * packet.time_base), 2)] = text.dialogue
    assert lines == {0.0: b"line 0", 0.15: b"line 1", 0.3: b"line 2"}
    dropped = restored(path, tmp_path / f"c{Path(target).suffix}", preset=None, subtitles=False)
    assert "subtitle" not in [facts[0] for facts in stream_facts(dropped.target)]
    assert not any("subtitles could not" in note for note in dropped.notes)


@pytest.mark.parametrize(
    ("audio", "suffix"), [("opus", ".webm"), ("aac", ".mkv"), ("flac", ".mkv")]
)
def test_sound_is_converted_on_request(audio: str, suffix: str, tmp_path: Path) -> None:
    source = clip(tmp_path / "a.mp4", count=30)
    if suffix == ".webm":
        with pytest.raises(MediaError, match="webm cannot hold the audio stream"):
            restored(source, tmp_path / "b.webm", preset=None)
    made = restored(source, tmp_path / f"b{suffix}", audio=audio, preset=None)
    assert [f[1] for f in stream_facts(made.target) if f[0] == "audio"] == [audio]
    with av.open(str(made.target)) as container:
        heard = np.concatenate([f.to_ndarray().ravel() for f in container.decode(audio=0)])
        assert len(heard) == pytest.approx(30 * 48000 / 25, rel=0.1)
        assert np.abs(heard / max(1, np.abs(heard).max())).mean() > 0.3
    if audio == "aac":
        assert packets(made.target, "audio")[3][2] == packets(source, "audio")[3][2], "copied"


def test_frames_with_things_that_nobody_has_named_yet_pass(tmp_path: Path) -> None:
    """EXIF in motion JPEG is such a thing, and must not stop a run."""
    source = encoded(tmp_path / "a.mkv", [moving(0, 48, 64)], codec="mjpeg",
                     pixel_format="yuvj420p")  # fmt: skip
    data = source.read_bytes()
    orientation = struct.pack("<4sIHHHIII", b"II*\0", 8, 1, 0x112, 3, 1, 1, 0)
    exif = b"\xff\xe1" + struct.pack(">H", 8 + len(orientation)) + b"Exif\0\0" + orientation
    assert b"\xff\xd8" in data
    at = data.index(b"\xff\xd8") + 2
    raw = tmp_path / "a.mjpeg"
    raw.write_bytes((data[at - 2 : at] + exif + data[at:]) * 2)
    frame = next(decoded(raw))
    with pytest.raises(ValueError, match="not a valid"):
        len(frame.side_data)
    assert carried(frame) == {}
    assert restored(raw, tmp_path / "b.mp4").frames >= 1


def test_a_copied_frame_carries_what_its_source_did(tmp_path: Path) -> None:
    frame = next(decoded(_captioned(tmp_path / "a.ts")))
    copy = Copier(frame)(frame)
    assert carried(copy)["A53_CC"] == carried(frame)["A53_CC"]
    np.frombuffer(copy.planes[0], np.uint8)[:] = 7
    assert values(frame).max() != 7


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg to compare with")
def test_framemd5_is_that_of_ffmpeg(tmp_path: Path) -> None:
    made = restored(clip(tmp_path / "a.mp4", count=5), tmp_path / "b.mkv", framemd5=True)
    assert made.framemd5 == tmp_path / "b.mkv.framemd5"
    command = ["ffmpeg", "-v", "error", "-i", str(made.target), "-map", "0:v:0", "-f", "framemd5"]
    said = subprocess.run([*command, "-"], check=True, capture_output=True, text=True).stdout
    sums = [[line.split(",")[-1].strip() for line in text.splitlines() if line[0] != "#"]
            for text in (said, made.framemd5.read_text())]  # fmt: skip
    assert sums[0] == sums[1]
    assert len(sums[1]) == 5


@pytest.mark.parametrize(
    ("codec", "name", "pixel_format"),
    [
        ("mpeg4", "mpeg4", "yuv420p"),
        ("mpeg2video", "mpeg2video", "yuv420p"),
        ("libx265", "hevc", "yuv420p"),
        ("ffv1", "ffv1", "yuv422p"),
        ("libvpx-vp9", "vp9", "yuv420p"),
        ("mjpeg", "mjpeg", "yuvj422p"),
        ("prores_ks", "prores", "yuv422p10le"),
    ],
)
def test_the_codec_can_be_the_source_s_own(
    codec: str, name: str, pixel_format: str, tmp_path: Path
) -> None:
    pictures = [moving(index, 48, 64) for index in range(4)]
    source = encoded(tmp_path / "a.mkv", pictures, codec=codec, pixel_format=pixel_format)
    made = restore_video(Identity(), source, tmp_path / "b.mkv", codec="same", strength=0)
    assert stream_facts(made.target)[0][1] == name
    for before, after in zip(decoded(source), decoded(made.target), strict=True):
        assert before.format.name == after.format.name
        assert before.time == pytest.approx(after.time, abs=0.002)
        peak = 2 ** before.format.components[0].bits - 1
        error = np.abs(values(before) - values(after)).mean() / peak
        assert error < 4 / 255, "no coarse default of FFmpeg's"


def _tape(path: Path) -> Path:
    """Write MXF as broadcasters do: MPEG-2 with a timecode."""
    with av.open(str(path), "w", format="mxf") as out:
        out.metadata["timecode"] = "10:00:00:00"
        video: Any = out.add_stream("mpeg2video", rate=25, options={"qscale": "3"})
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        for index in range(5):
            frame = av.VideoFrame.from_ndarray(moving(index, 48, 64), "rgb48le")
            frame = frame.reformat(format="yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
    return path


def test_what_becomes_of_a_tape_is_said_and_its_timecode_stays(tmp_path: Path) -> None:
    source = _tape(tmp_path / "a.mxf")
    made = restore_video(Identity(), source)
    assert made.target == tmp_path / "a-whet.mp4"
    assert any(".mxf became .mp4" in note for note in made.notes)
    archived = restore_video(Identity(), source, codec="ffv1", framemd5=True, strength=0)
    assert archived.target == tmp_path / "a-whet.mkv"
    assert archived.notes == ()
    for target in (made.target, archived.target):
        with av.open(str(target)) as container:
            tags = {**container.metadata, **container.streams.video[0].metadata}
            found = {key.lower(): value for key, value in tags.items()}
        assert found["timecode"] == "10:00:00:00"
    for before, after in zip(decoded(source), decoded(archived.target), strict=True):
        for plane in range(3):
            np.testing.assert_array_equal(values(before, plane), values(after, plane))


def test_pixels_that_are_not_square_stay_so_or_a_note_says_it(tmp_path: Path) -> None:
    pictures = [moving(index, 48, 64) for index in range(3)]
    source = encoded(tmp_path / "a.mp4", pictures, sample_aspect_ratio=Fraction(32, 27))
    kept = restored(source, tmp_path / "b.mkv")
    assert kept.notes == ()
    assert "pixel shape" in kept.same
    lost = restored(source, tmp_path / "b.webm", preset=None)
    assert any("pixel shape 32/27 could not be kept" in note for note in lost.notes)


def test_sound_whose_channels_have_no_names_is_converted_too(tmp_path: Path) -> None:
    """Windows Media says how many channels there are, and not which."""
    source = tmp_path / "a.wmv"
    with av.open(str(source), "w", format="asf") as out:
        video: Any = out.add_stream("wmv2", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        tone: Any = out.add_stream("wmav2", rate=44100, layout="mono", bit_rate=96000)
        for index in range(10):
            frame = av.VideoFrame.from_ndarray(moving(index, 48, 64), "rgb48le")
            frame = frame.reformat(format="yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            out.mux(video.encode(frame))
        for index in range(9):
            wave = np.sin(np.arange(index * 2048, (index + 1) * 2048) / 20)[None]
            samples = av.AudioFrame.from_ndarray(wave.astype(np.float32), "fltp", "mono")
            samples.sample_rate, samples.pts = 44100, index * 2048
            out.mux(tone.encode(samples))
        out.mux(tone.encode(None))
        out.mux(video.encode(None))
    made = restored(source, tmp_path / "b.mp4", audio="aac")
    assert [facts[:2] for facts in stream_facts(made.target)][1] == ("audio", "aac")
    with av.open(str(made.target)) as container:
        heard = np.concatenate([f.to_ndarray().ravel() for f in container.decode(audio=0)])
    assert np.abs(heard).max() > 0.5
