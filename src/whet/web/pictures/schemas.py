"""What requests may say and answers say, as OpenAPI shows it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from whet.web.pictures.jobs import model_names

__all__ = [
    "MEDIA_TYPES",
    "Health",
    "Limits",
    "Model",
    "Options",
    "ScoreTable",
    "body",
]

MEDIA_TYPES = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "TIFF": "image/tiff",
    "AVIF": "image/avif",
    "HEIF": "image/heif",
    "BMP": "image/bmp",
    "PPM": "image/x-portable-pixmap",
    "JP2": "image/jp2",
    "JXL": "image/jxl",
}
"""Format that can be written -> media type."""

Suffix = Literal["jpg", "png", "webp", "tif", "avif", "bmp"]


class Options(BaseModel):
    """How a picture is restored; in the query, or as fields of the form."""

    model: str = Field(
        "small", description="name of a model", json_schema_extra={"enum": list(model_names())}
    )
    strength: float = Field(
        1.0, ge=0, le=2, allow_inf_nan=False, description="0 changes nothing, 1 is full"
    )
    format: Suffix | None = Field(None, description="of the answer; the picture's own if absent")
    quality: int | None = Field(None, ge=1, le=100, description="of lossy formats")


class Model(BaseModel):
    """One model."""

    name: str
    word: str | None = Field(description="fast, balanced or best, by what it computes")
    architecture: str
    parameters: int
    kmac_per_px: float
    seconds_per_mpx: float | None = Field(description="measured here once; null until it is")
    gains_db: dict[str, float] = Field(description="suite -> PSNR gained, as its card says")


class Limits(BaseModel):
    """The largest picture and the longest video that are taken."""

    max_bytes: int
    max_pixels: int = Field(description="of a picture, and of a video's frame")
    videos: int = Field(description="places for videos; 0 where none are taken")
    max_video_bytes: int
    max_video_seconds: float


class Health(BaseModel):
    """Whether the server takes pictures."""

    status: Literal["ok", "busy"]
    version: str
    slots_taken: int


class ScoreTable(BaseModel):
    """PSNR in dB (100 for equal pictures) and SSIM against the reference."""

    psnr_degraded: float
    ssim_degraded: float
    psnr_restored: float
    ssim_restored: float


def body(*files: str, raw: bool) -> dict[str, Any]:
    """Return the OpenAPI description of an upload, which FastAPI does not derive.

    Args:
        files: required parts of the form.
        raw: whether the picture may also be the whole body.
    """
    binary = {"type": "string", "format": "binary", "minLength": 1}
    properties: dict[str, Any] = dict.fromkeys(files, binary)
    options = {k: _in_form(v) for k, v in Options.model_json_schema()["properties"].items()}
    form = {"type": "object", "required": list(files), "properties": {**properties, **options}}
    content: dict[str, Any] = {"multipart/form-data": {"schema": form}}
    if raw:
        for media_type in (*MEDIA_TYPES.values(), "application/octet-stream"):
            content[media_type] = {"schema": binary}
    return {"requestBody": {"required": True, "content": content}}


def _in_form(schema: dict[str, Any]) -> dict[str, Any]:
    """Return an option without null: a form can leave a field out, but only say "null"."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    rest = {key: value for key, value in schema.items() if key not in ("anyOf", "default")}
    return {**kinds[0], **rest} if kinds else schema
