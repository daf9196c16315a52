"""The loop: steps, their order and pace, and how a run is stopped and goes on."""
