"""The live page, and the runtime that it loads."""
