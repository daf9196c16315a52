"""One file per picture format, or per part of one."""
