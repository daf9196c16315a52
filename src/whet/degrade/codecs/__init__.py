"""What real codecs and programs do to pictures."""
