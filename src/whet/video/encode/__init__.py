"""A video file written: frames encoded, everything else as it was."""
