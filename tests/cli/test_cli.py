"""The command line: names that stay, help that helps, and errors that say what to do."""

from __future__ import annotations

import io
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer.main
from PIL import Image

from commandline import MakePicture, Outcome, load, save, save_gopro, save_photos, succeed, whet
from whet.artifact import shipped
from whet.cli.main import app
from whet.version import __version__
from whet.video.run import RestoredVideo

# What scripts rely on. A name may be added here; none may leave or change.
STABLE = {
    "image": "inputs --output -o --model -m --strength --compare --quality --format --runtime "
    "--threads --max-pixels --overwrite --quiet -q --json",
    "video": "inputs --output -o --model -m --strength --gate --no-gate --resume --runtime "
    "--threads --overwrite --quiet --json",
    "bench": "--model -m --runtime --sizes --threads --rounds --seconds --frames --rivals "
    "--no-rivals --memory --no-memory --peak --no-peak --output -o --overwrite --quiet -q --json",
    "live": "--camera --to --model -m --strength --fps --split --loop --duration --size --log "
    "--crf --preset --runtime --threads --overwrite --quiet -q --json",
    "models": "name --runtimes --json",
    "demo": "--output -o --steps --open --no-open --quiet -q",
    "serve": "--host --port --token --runtime --threads --workers --waiting --max-bytes "
    "--max-pixels --max-seconds --reports --fetch --export --quiet -q --allowed-host",
    "data list": "--json",
    "data fetch": "name --quiet -q",
    "data check": "folder --kind --json --quiet -q",
    "data make": "--output -o --photos --crops --crop --mix --split --teacher --teacher-weights "
    "--seed --quiet -q",
    "distill": "recipe --photos --validation --pairs --bank --output -o --set "
    "--teacher-weights --vgg --pictures --resume --max-minutes --threads --quiet -q --json",
    "study new": "--output -o --triplets --model -m --baseline --suite --photos --limit --crop "
    "--protocol --scale --title --scenes-each --practice --repeats --gold --break-every --consent "
    "--seed --quiet -q --json --question --instructions --completion --external",
    "study status": "folder --database --json",
    "study analyse": "folder --database --output -o --keep-all --overwrite --json",
    "export": "checkpoint --output -o --student --int8 --photos --card --overwrite",
    "evaluate": "--model -m --suite --photos --clips --categories --pairs --split --limit "
    "--baseline --teacher --rival --teacher-weights --output -o --overwrite --quiet -q --json",
}


def commands(group: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Yield every command that does something, as its words and its object."""
    group = group or typer.main.get_command(app)
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


COMMANDS = dict(commands())


def one_line(outcome: Outcome) -> str:
    """Return the only line of an error, after checking that it is one."""
    assert outcome.code == 2
    assert outcome.out == ""
    assert outcome.err.endswith("\n")
    (line,) = outcome.err.splitlines()
    assert "Traceback" not in line
    return line


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is the current one."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


# Names and help


@pytest.mark.parametrize("command", STABLE)
def test_names_of_commands_and_options_are_stable(command: str) -> None:
    names: set[str] = set()
    for parameter in COMMANDS[command].params:
        options = [*parameter.opts, *parameter.secondary_opts]
        names |= set(options if parameter.param_type_name == "option" else [parameter.name])
    assert set(STABLE[command].split()) <= names


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_explains_every_word(command: str) -> None:
    text = succeed(*command.split(), "--help")
    assert text.startswith(f"Usage: whet {command}")
    assert COMMANDS[command].help
    for parameter in COMMANDS[command].params:
        assert parameter.help, f"{command}: {parameter.opts} has no help"


def test_help_lists_every_command() -> None:
    words = succeed("--help").split()
    assert {command.split()[0] for command in COMMANDS} <= set(words)


def test_version_loads_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['whet', '--version']\n"
        "from whet.cli.main import main\n"
        "try: main()\n"
        "except SystemExit as end: code = end.code\n"
        "heavy = {'torch', 'numpy', 'onnx', 'onnxruntime', 'openvino', 'PIL', 'av'}\n"
        "print(code, sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"whet {__version__}\n0 []\n"
    assert done.stderr == ""


# Errors


def test_an_error_ends_a_process_with_one_line_and_code_2(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from whet.cli.main import main; main()", "models", "nope"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    line = one_line(Outcome(done.returncode, done.stdout, done.stderr))
    assert line.startswith("whet: no model 'nope'; give a shipped one")


WRONG = {
    "models nope": "give a shipped one",
    "image a.png --model nope": "give a shipped one",
    "image a.png --model MODEL --runtime cuda": "choose auto or one of: openvino, onnxruntime",
    "image a.png --model MODEL --strength 3": "choose 0 (nothing) to 2",
    "image absent.png --model MODEL": "check the path",
    "image empty --model MODEL": "name a folder that does",
    "image *.jpg --model MODEL": "check the pattern",
    "image a.png b.png -o - --model MODEL": "name a folder",
    "image a.png --format .doc --model MODEL": "use one of",
    "image a.png -o a.png --model MODEL": "--overwrite replaces it",
    "data fetch nope": "choose: maxim-gopro",
    "data check . --kind nope": "choose one of: gopro",
    "data check absent --kind photos": "name the one that holds the data set",
    "data check empty --kind gopro": "expected empty/{train,test}",
    "data make -o out --photos absent": "name the one that holds the data set",
    "data make -o out --photos photos --mix shake": "--mix takes key=value",
    "data make -o out --photos photos --mix shake=1": "choose from: clean, shake-srgb",
    "data make -o out --photos photos --mix object=much": "the share of object is a number",
    "data make -o out --photos photos --mix object=0": "a mix needs",
    "data make -o out --photos photos --teacher nope": "choose one of: maxim",
    "data make -o a.png --photos photos": "a.png: File exists",
    "distill nope": "choose one of: founding, founding-honest, quick",
    "distill quick": "name what to train on: --photos DIR, --pairs DIR or --bank DIR",
    "distill quick --set steps": "--set takes key=value",
    "distill quick --set stpes=4": "it has: name, summary, student, steps",
    "distill quick --set steps=0": "it must be a number from 1 up",
    "distill quick --set losses.magic=1": "choose from: pixel",
    "distill quick --bank empty --set student=nope": "choose from: dncnn, nano",
    "distill quick --bank empty": "write one with `whet data make`",
    "distill quick --photos photos": "add --set teacher=maxim",
    "distill founding-honest --photos absent --set losses.perceptual=0 "
    "--set losses.distillation=0": "name the one that holds the data set",
    "distill founding --pairs broken": "give the path of the file",
    "distill founding --pairs broken --set losses.perceptual=0 --set losses.distillation=0": (
        "no picture one in broken/blur"
    ),
    "distill quick --bank empty -o a.png": "name a folder with -o",
    "export absent.pth": "check the path",
    "export a.png": "give a .safetensors file or one written by torch.save",
    "export hostile.pth": "re-save only the weights",
    "export hostile.pth -o b.png": "end it with .onnx",
    "export hostile.pth -o absent/b.onnx": "create it first",
    "export hostile.pth -o taken.onnx": "--overwrite replaces it",
    "export hostile.pth --int8": "name a folder with --photos",
    "export hostile.pth --int8 --photos absent": "name the one that holds the data set",
    "evaluate --model nope --suite sharp --photos photos": "give a shipped one",
    "evaluate --model MODEL --suite nope": "choose one of: shake-srgb",
    "evaluate --model MODEL --baseline nope --pairs broken": "no picture one in broken/blur",
    "evaluate --model MODEL --baseline nope --photos photos": "choose from: identity, unsharp",
    "evaluate --model MODEL --pairs div2k:photos": "holds no div2k data",
    "evaluate --model MODEL --photos photos --teacher nope": "choose one of: maxim",
    "evaluate --model MODEL --suite sharp --photos photos -o a.png": "a.png cannot be a folder",
    "demo -o a.png": "name another one with -o",
    "demo -o photos": "name another one with -o",
}


@pytest.fixture(scope="module")
def clutter(tmp_path_factory: pytest.TempPathFactory, picture: MakePicture) -> Path:
    """A folder full of things that commands can trip over."""
    folder = tmp_path_factory.mktemp("clutter")
    save(picture(16, 16), folder / "a.png")
    save(picture(16, 16), folder / "b.png")
    save_photos(folder / "photos", picture, ["quay", "moor", "barn"], side=32)
    save(picture(16, 16), folder / "broken" / "sharp" / "one.png")
    save(picture(16, 16), folder / "broken" / "blur" / "two.png")
    (folder / "empty").mkdir()
    (folder / "taken.onnx").write_bytes(b"mine")
    (folder / "hostile.pth").write_bytes(pickle.dumps(Bomb(folder / "exploded"), protocol=2))
    return folder


class Bomb:
    """Pickles to a call that writes a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.target, "boom")


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("words", WRONG)
def test_errors_name_the_remedy_on_one_line_and_leave_nothing_behind(
    words: str, clutter: Path, tiny_artifact: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(clutter)
    monkeypatch.setenv("WHET_CACHE", str(tmp_path / "cache"))
    before = contents(clutter)
    folders = sorted(clutter.rglob("*/"))
    line = one_line(whet(*words.replace("MODEL", str(tiny_artifact)).split()))
    assert WRONG[words] in line
    assert contents(clutter) == before
    assert sorted(clutter.rglob("*/")) == folders


@pytest.mark.parametrize(
    "words",
    [
        "nope",
        "image",
        "image --nope",
        "models a b",
        "data make -o out",
        "data make -o out --photos photos --seed=-1",
        "export x --int9",
        "evaluate --limit 0",
        "demo --steps many",
    ],
)
def test_wrong_words_point_to_the_help(words: str) -> None:
    outcome = whet(*words.split())
    assert outcome.code == 2
    assert outcome.out == ""
    assert "--help' for help" in outcome.err
    assert outcome.err.splitlines()[-1].startswith("Error: ")


def test_a_full_disk_is_no_traceback(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "runs/quick")

    monkeypatch.setattr("whet.artifact.shipped", full)
    assert one_line(whet("models")).startswith("whet: runs/quick: the disk is full; free some")


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def bug() -> None:
        raise OSError("nobody's file")

    monkeypatch.setattr("whet.artifact.shipped", bug)
    with pytest.raises(OSError, match="nobody's file"):
        whet("models")


# image


def test_image_writes_beside_or_into_a_folder_and_prints_where(
    here: Path, picture: MakePicture, tiny_artifact: Path
) -> None:
    save(picture(24, 40), here / "a.png")
    assert succeed("image", "a.png", "--model", tiny_artifact) == "a-whet.png\n"
    listed = succeed("image", "a.png", "-o", "out", "--compare", "--model", tiny_artifact)
    assert [Path(line) for line in listed.split()] == [Path("out/a.png"), Path("out/a-compare.png")]
    assert load(here / "out" / "a.png").shape == (24, 40, 3)
    assert np.array_equal(load(here / "out" / "a.png"), load(here / "a-whet.png"))
    assert not np.array_equal(load(here / "a-whet.png"), load(here / "a.png"))


def test_image_leaves_what_exists_alone_until_told_otherwise(
    here: Path, picture: MakePicture, tiny_artifact: Path
) -> None:
    save(picture(24, 24), here / "a.png")
    (here / "a-whet.png").write_bytes(b"mine")
    outcome = whet("image", "a.png", "--model", tiny_artifact)
    assert (outcome.code, outcome.out) == (0, "")
    assert outcome.err == "a-whet.png exists and was left alone; --overwrite replaces it\n"
    assert (here / "a-whet.png").read_bytes() == b"mine"
    succeed("image", "a.png", "--model", tiny_artifact, "--overwrite")
    assert load(here / "a-whet.png").shape == (24, 24, 3)


def test_image_reports_what_is_no_picture_and_restores_the_others(
    here: Path, picture: MakePicture, tiny_artifact: Path
) -> None:
    save(picture(24, 24), here / "in" / "good.png")
    (here / "in" / "text.jpg").write_text("These are words, not pixels.")
    outcome = whet("image", "in", "-o", "out", "--model", tiny_artifact, "--json")
    assert outcome.code == 2
    (line,) = outcome.err.splitlines()
    assert "text.jpg" in line
    report = json.loads(outcome.out)
    assert [Path(entry["target"]) for entry in report["done"]] == [Path("out/good.png")]
    assert report["done"][0]["notes"] == []
    assert [Path(entry["source"]) for entry in report["failed"]] == [Path("in/text.jpg")]
    assert [path.name for path in (here / "out").iterdir()] == ["good.png"]


def test_image_refuses_more_pixels_than_allowed(
    here: Path, picture: MakePicture, tiny_artifact: Path
) -> None:
    save(picture(20, 30), here / "a.png")
    refused = whet("image", "a.png", "-m", tiny_artifact, "--max-pixels", 599)
    assert "--max-pixels" in one_line(refused)
    succeed("image", "a.png", "-m", tiny_artifact, "--max-pixels", 600)


def test_video_says_what_an_interrupted_run_left(
    here: Path, tiny_artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = RestoredVideo(here / "b.partial.mp4", 17, 1.0, interrupted=True, notes=())
    monkeypatch.setattr("whet.video.run.restore_video", lambda *_, **__: left)
    outcome = whet("video", "a.mp4", "-m", tiny_artifact)
    assert outcome.code == 130
    assert outcome.out.strip() == str(left.target)
    assert "b.partial.mp4 plays, and holds the first 17 frames" in outcome.err


def test_image_pipes_the_picture_alone(picture: MakePicture, tiny_artifact: Path) -> None:
    stream = io.BytesIO()
    Image.fromarray(picture(24, 40)).save(stream, "PNG")
    words = ["image", "-", "--model", str(tiny_artifact), "--json"]
    done = subprocess.run(
        [sys.executable, "-c", "from whet.cli.main import main; main()", *words],
        input=stream.getvalue(),
        capture_output=True,
        check=True,
    )
    restored = Image.open(io.BytesIO(done.stdout))
    restored.load()
    assert (restored.format, restored.size) == ("PNG", (40, 24))
    assert done.stdout.endswith(b"IEND\xaeB\x60\x82")
    assert json.loads(done.stderr.splitlines()[-1])["failed"] == []


def piped(data: bytes, *words: str) -> subprocess.CompletedProcess[bytes]:
    code = "from whet.cli.main import main; main()"
    command = [sys.executable, "-c", code, "image", "-", *words]
    return subprocess.run(command, input=data, capture_output=True, check=True)


def test_a_pipe_takes_the_format_that_is_asked_for_and_folders_the_name_stdin(
    here: Path, picture: MakePicture, tiny_artifact: Path
) -> None:
    stream = io.BytesIO()
    Image.fromarray(picture(24, 40)).save(stream, "JPEG")
    done = piped(stream.getvalue(), "--model", str(tiny_artifact), "--format", "webp")
    assert Image.open(io.BytesIO(done.stdout)).format == "WEBP"
    (here / "out").mkdir()
    piped(stream.getvalue(), "--model", str(tiny_artifact), "-o", "out/")
    assert [path.name for path in (here / "out").iterdir()] == ["stdin.jpg"]


def test_a_dry_run_says_what_would_be_written_and_writes_nothing(
    here: Path, picture: MakePicture
) -> None:
    save(picture(24, 24), here / "in" / "a.png")
    save(picture(24, 24), here / "out" / "b.png")
    save(picture(24, 24), here / "in" / "b.png")
    words = ("image", "in", "-o", "out", "--compare", "--dry-run", "--name", "{stem}")
    assert succeed(*words).splitlines() == [
        "in/a.png -> out/a.png",
        "in/a.png -> out/a-compare.png",
        "in/b.png -> out/b.png (exists: left alone)",
        "in/b.png -> out/b-compare.png",
    ]
    entries = json.loads(succeed(*words, "--json"))["planned"]
    assert [entry["exists"] for entry in entries] == [False, True]
    assert sorted(path.name for path in (here / "out").iterdir()) == ["b.png"]


def test_short_help_and_version_and_names_in_any_case() -> None:
    assert "--recursive" in succeed("image", "-h")
    assert succeed("-V") == succeed("--version")
    assert succeed("models", "Small") == succeed("models", "small")


def test_names_that_are_no_text_are_printed_as_they_are(
    here: Path, picture: MakePicture, tiny_artifact: Path
) -> None:
    save(picture(24, 24), here / "a.png")
    odd = os.fsencode(here) + b"/\xff.png"
    (here / "a.png").rename(os.fsdecode(odd))
    code = "from whet.cli.main import main; main()"
    command = [sys.executable, "-c", code, "image", odd, "-m", str(tiny_artifact)]
    done = subprocess.run(command, capture_output=True, check=True)
    assert done.stdout == odd[:-4] + b"-whet.png\n"


# models


def test_models_lists_what_is_shipped() -> None:
    text = succeed("models")
    assert all(name in text for name in shipped())
    assert json.loads(succeed("models", "--json")).keys() == shipped().keys()


def test_models_prints_the_card_of_a_file(tiny_artifact: Path) -> None:
    text = succeed("models", tiny_artifact)
    assert text.startswith("tiny\n")
    for words in ("8 px, 32 px", "noise", "CC0-1.0", "psnr 30.25", "known failure: everything"):
        assert words in text
    card = json.loads(succeed("models", tiny_artifact, "--json"))
    assert (card["name"], card["multiple"], card["halo"]) == ("tiny", 8, 32)


@pytest.mark.skipif("small" not in shipped(), reason="this copy carries no model called small")
def test_models_prints_the_card_of_a_shipped_model() -> None:
    assert succeed("models", "small").startswith("small\n")


# data


def test_data_list_names_sources_and_weights(monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    monkeypatch.setenv("WHET_CACHE", str(here))
    text = succeed("data", "list")
    listed = json.loads(succeed("data", "list", "--json"))
    assert {"gopro", "div2k", "pairs", "photos"} <= listed["sources"].keys()
    assert {"maxim-gopro", "vgg16"} <= listed["fetch"].keys()
    assert all(name in text for name in (*listed["sources"], *listed["fetch"]))
    assert set(listed["fetch"].values()) == {""}


def test_data_list_says_which_weights_are_damaged_and_lists_the_others(
    monkeypatch: pytest.MonkeyPatch, here: Path
) -> None:
    monkeypatch.setenv("WHET_CACHE", str(here))
    (here / "vgg16.safetensors").write_bytes(b"changed")
    (here / "vgg16.safetensors.sha256").write_text("0" * 64)
    text = succeed("data", "list")
    assert "run: whet data fetch vgg16" in text
    assert "not fetched yet" in text
    assert json.loads(succeed("data", "list", "--json"))["fetch"]["vgg16"] == ""


def test_data_check_reports_all_that_is_wrong(here: Path, picture: MakePicture) -> None:
    save_gopro(here / "GoPro_Large", picture, side=16)
    (here / "GoPro_Large/train/GOPR0001/blur/000001.png").unlink()
    (here / "GoPro_Large/train/GOPR0002/sharp/000002.png").write_text("no picture")
    outcome = whet("data", "check", "--kind", "gopro", ".")
    assert outcome.code == 2
    assert "000001.png: no picture 000001 in" in outcome.out
    assert "unreadable" in outcome.out
    assert "the published set 2,103" in outcome.out
    report = json.loads(whet("data", "check", ".", "--kind", "gopro", "--json").out)
    assert not report["ok"]
    kinds = [problem["kind"] for problem in report["problems"]]
    assert sorted(kinds) == ["count", "count", "missing", "unreadable"]


def test_data_check_passes_what_is_whole(here: Path, picture: MakePicture) -> None:
    save_photos(here / "photos", picture, ["quay", "moor"], side=16)
    assert succeed("data", "check", "photos", "--kind", "photos").endswith("ok\n")


def test_data_make_continues_a_bank_and_refuses_another(here: Path, picture: MakePicture) -> None:
    save_photos(here / "photos", picture, ["quay", "moor", "barn"], side=48)
    words = ["data", "make", "-o", "bank", "--photos", "photos", "--crop", 16]
    words += ["--mix", "bicubic-x2=1", "--crops"]
    assert succeed(*words, 8) == "bank\n"
    first = contents(here / "bank")
    succeed(*words, 16)
    assert first.items() < contents(here / "bank").items()
    assert "other settings" in one_line(whet(*words, 8, "--seed", 1))
