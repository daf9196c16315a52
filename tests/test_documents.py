"""Every command of every document runs, on tiny data and for few steps.

One table makes commands small, another lists those that do not run here, with the reason, which is
printed (``pytest --full -rP tests/test_documents.py``). A command that neither fails nor stands
in the second table has run.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from commandline import MakePicture, save, soften, whet

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])

EXCEPTIONS = {
    r"^(pip|python3 -m venv) ": "installs",
    r"^(curl|ffmpeg) ": "is no program of whet's; other tests do the same",
    r"^whet serve": "runs until it is stopped; the tests of the web start it",
    r"^whet live(?! --camera \w+\.mp4 --to)": "needs a camera, a screen, a window or a network",
    r"^whet data fetch": "downloads",
    r"^whet bench.*(--peak|1080p,4k|docs/bench)": "measures for minutes",
    r"^python scripts/compare_streams": "judges a clip with sound, which is not made here",
    r"^python scripts/(limits|gate_threshold|long_video)": "measures for minutes",
    r"^(for |done|OMP_NUM_THREADS=)|\$\(": "is a loop of the shell over commands that run here",
    r"\.\.\.$": "is part of another command",
    r"\.mxf ": "needs a file of a studio",
    r"--codec hevc": "needs an encoder that not every FFmpeg has",
    r"^whet study (status|analyse) ": "needs people; the tests of studies simulate them",
}
"""Pattern of a command -> why it does not run here."""

SMALL = (
    (r"--crops \d+", "--crops 16"),
    (r"--teacher maxim", ""),  # its weights are downloaded
    (r"^(whet data make .*)$", r"\1 --crop 32 -q"),
    (r"^(whet distill \w+ .*)$", r"\1 --set steps=2 --set stages=0:32x8 --pictures 1 -q"),
    (r"^(whet bench.*)$", r"\1 --sizes 64x64 --rounds 3 --seconds 0.05 --no-rivals --no-memory -q"),
    (r"--sizes (?!64x64)\S+ ", ""),
    (r"--runtime torch ", ""),
    (r"data check --kind gopro GOPRO", "data check --kind photos PHOTOS"),  # GoPro has 2,103 pairs
    (r"--count \d+", "--count 1"),
    (r"--frames \d+", "--frames 4"),
    (r"^(whet evaluate .*)$", r"\1 --limit 2 --suite bicubic-x2 -q"),
    (r"--suite shake-srgb", "--suite bicubic-x2 --photos PHOTOS --limit 3 --crop 24x24"),
    (r"^(whet study new -o \S+ --model \S+ --baseline.*)$", r"\1 --photos PHOTOS"),
    (r"--crop (?:480x360|380x300)", ""),
    (r"--duration \d+", "--duration 1"),
    (r"--start \S+", "--start 0.1"),
    (r"flicker PHOTOS", "flicker LARGE"),
    (r"--to a\.mp4", "--to new.mp4"),
    (r"--log a\.jsonl", "--log new.jsonl"),
    (r"^(whet study rehearse.*)$", r"\1 --studies 1"),
    (r"^(whet demo.*)$", r"\1 --steps 10 --no-open -q"),
)
"""Pattern -> replacement: the same commands, for less."""


CLIPS = (
    *("a.mp4", "b.mov", "clip.mp4", "talk.mp4", "talk.mov", "lecture.mp4", "coffee.mp4"),
    *("tape.mov", "akiyo_cif.mp4", "clips/c.mp4", "FOLDER/c.mp4"),
)


def commands(document: Path) -> Iterator[str]:
    """Yield the lines of a document's shell blocks, without comments."""
    text = document.read_text(encoding="utf-8")
    for block in re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            if bare := re.sub(r"(^|\s)#.*$", "", line).strip():
                yield bare


def reason(command: str) -> str | None:
    found = (why for pattern, why in EXCEPTIONS.items() if re.search(pattern, command))
    return next(found, None)


def smaller(command: str) -> str:
    for pattern, replacement in SMALL:
        command = re.sub(pattern, replacement, command)
    return command


@pytest.fixture
def folder(tmp_path: Path, picture: MakePicture, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the documents speak of: photographs, pairs, clips, models, in small."""
    sharp = [picture(48, 64, seed) for seed in range(8)]
    for number, pixels in enumerate(sharp):
        for place in ("PHOTOS", "HELD_OUT", "holiday"):
            save(pixels, tmp_path / place / f"p{number}.png")
        save(pixels, tmp_path / "frames" / f"{number + 1:04d}.png")
        for kind, version in (("degraded", soften(pixels)), ("sharp", pixels)):
            save(version, tmp_path / "pictures" / kind / f"p{number}.png")
        save(pixels, tmp_path / "pictures" / "restored" / "mine" / f"p{number}.png")
    for split in ("train", "test"):
        for number, pixels in enumerate(sharp[:2]):
            scene = tmp_path / "GOPRO" / split / f"GOPR{split == 'test':d}00{number}_11_00"
            for kind, version in (("blur", soften(pixels)), ("sharp", pixels)):
                save(version, scene / kind / "000001.png")
    save(picture(360, 640), tmp_path / "LARGE" / "large.png")
    for name in ("photo.jpg", "soft.jpg", "in.png"):
        save(sharp[0], tmp_path / name)
    shipped = ROOT / "src" / "whet" / "weights" / "nano.onnx"
    for name in ("my.onnx", "founding.onnx"):
        shutil.copyfile(shipped, tmp_path / name)
    make_clips(tmp_path, sharp[0])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make_clips(folder: Path, still: np.ndarray) -> None:
    import av

    for name in CLIPS:
        (folder / name).parent.mkdir(exist_ok=True)
        with av.open(str(folder / name), "w") as out:
            video = out.add_stream("libx264", rate=25)
            video.width, video.height, video.pix_fmt = still.shape[1], still.shape[0], "yuv420p"
            for shift in range(6):
                frame = av.VideoFrame.from_ndarray(
                    np.ascontiguousarray(np.roll(still, shift, 1)), "rgb24"
                )
                out.mux(video.encode(frame))
            out.mux(video.encode(None))


def run(command: str) -> tuple[int, str]:
    """Run one command of a document; return its exit code and what it said."""
    words = shlex.split(command)
    if words[0] == "whet" and not {"<", ">", "|"} & set(words):
        outcome = whet(*words[1:])
        return outcome.code, outcome.err
    line = command.replace("scripts/", f"{ROOT}/scripts/")
    program = f'{shlex.quote(sys.executable)} -c "from whet.cli.main import main; main()"'
    shell = f'whet() {{ {program} "$@"; }}; python() {{ {shlex.quote(sys.executable)} "$@"; }}; '
    done = subprocess.run(
        ["bash", "-c", shell + line], capture_output=True, text=True, check=False, timeout=300
    )
    return done.returncode, done.stderr


def make_room(folder: Path, command: str) -> None:
    """Remove what an example before this one wrote to the same place; each stands for itself."""
    if not command.startswith("whet "):
        return
    for target in (*folder.glob("*-whet.*"), *folder.glob("new.*"), folder / "sharp.mp4"):
        target.unlink(missing_ok=True)
    if re.match(r"whet (bench|distill|study new)", command) and "--resume" not in command:
        named = re.search(r"(?:-o|--output) (\S+)", command)
        for name in (named[1] if named else "whet-bench", "runs/small"):
            shutil.rmtree(folder / name, ignore_errors=True)


@pytest.mark.full
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_every_command_of_a_document_runs(document: Path, folder: Path) -> None:
    pytest.importorskip("torch", reason="needs the extra train")
    if shutil.which("bash") is None:
        pytest.skip("needs bash")
    failed = []
    for command in commands(document):
        if why := reason(command):
            print(f"not run, for it {why}: {command}")
            continue
        make_room(folder, command)
        code, said = run(smaller(command))
        if code:
            failed.append(f"{command}\n    ran as: {smaller(command)}\n    {said.strip()[-400:]}")
    assert not failed, "\n".join(failed)


def test_every_exception_is_of_a_command_that_stands_somewhere() -> None:
    every = [command for document in DOCUMENTS for command in commands(document)]
    assert len(every) > 50
    unused = [p for p in EXCEPTIONS if not any(re.search(p, command) for command in every)]
    assert unused == []
