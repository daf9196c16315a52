"""An independent reader finds in the result what it found in the source."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from shutil import which
from types import ModuleType

import pytest

from whet.image import read, write

pytestmark = pytest.mark.skipif(which("exiftool") is None, reason="exiftool is not installed")

DIFFERENT = {
    "bad-xmp.png": {"PNG:InternationalText"},
    "bits.png": {"PNG:SignificantBits"},
    "five.tif": {"IFD0:BitsPerSample", "IFD0:ExtraSamples", "IFD0:SamplesPerPixel"},
    "inks.jpg": {
        f"Adobe:{tag}"
        for tag in ("APP14Flags0", "APP14Flags1", "ColorTransform", "DCTEncodeVersion")
    },
    "lying.jpg": {
        "ExifIFD:ExifImageHeight", "ExifIFD:ExifImageWidth", "IFD0:Orientation",
        "JFIF:XResolution", "JFIF:YResolution",
    },
    "palette.png": {"PNG:Palette", "PNG:Transparency", "PNG:ColorType"},
}  # fmt: skip
"""Picture -> the tags that rightly go or change; in all others everything stays."""

REFUSED = {"corrupt.jpg", "moving.png", "pages.tif"}


def script() -> ModuleType:
    path = Path(__file__).parents[2] / "scripts" / "picture_cases.py"
    spec = importlib.util.spec_from_file_location("picture_cases", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


CASES = script()


@pytest.mark.parametrize("name", sorted(set(CASES.made()) - REFUSED))
def test_tags_stay_but_for_those_that_must_not(name: str, tmp_path: Path) -> None:
    source, target = tmp_path / name, tmp_path / f"result-{name}"
    source.write_bytes(CASES.made()[name])
    write(read(source), target)
    before, after = CASES.tags(source), CASES.tags(target)
    different = {tag for tag in before if before[tag] != after.get(tag)}
    assert different == DIFFERENT.get(name, set())
    assert before
