"""What requests about videos may say and answers say, as OpenAPI shows it."""

from __future__ import annotations

from pydantic import BaseModel, Field

from whet.web.pictures.jobs import model_names
from whet.web.videos.queue import State

__all__ = ["VideoOptions", "VideoStatus"]


class VideoOptions(BaseModel):
    """How a video is restored, and how large it is; in the query."""

    model: str = Field(
        "small", description="name of a model", json_schema_extra={"enum": list(model_names())}
    )
    strength: float = Field(
        1.0, ge=0, le=2, allow_inf_nan=False, description="0 changes nothing, 1 is full"
    )
    bytes: int = Field(ge=1, description="of the file, so that one too large is never sent")


class VideoStatus(BaseModel):
    """Where a video stands; what is not known yet is null."""

    id: str = Field(description="random, and the only key to the video")
    state: State
    suffix: str | None = Field(description="of the result: its source's container")
    width: int | None
    height: int | None
    frames: int = Field(description="restored so far")
    frames_expected: int | None = Field(description="as its header says")
    fps: float | None = Field(description="frames restored a second")
    seconds_left: float | None
    detail: str | None = Field(description="why it failed")
    notes: list[str] = Field(description="what could not be kept")
