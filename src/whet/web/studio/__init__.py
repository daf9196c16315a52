"""Heavy networks on the page: one picture at a time, minutes each."""
