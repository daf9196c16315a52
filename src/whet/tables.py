"""Tables of what whet knows by name, open to what a user's own file defines.

``my_losses.py:FOCUS`` names the ``FOCUS`` of the file ``my_losses.py``, wherever the name of a
student, a teacher, a loss or a metric is taken. Such a file is a program and is run: name only
your own. Iterating shows what comes with whet, and what a program has put there itself.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Generic, TypeVar

from whet.errors import InputError

__all__ = ["Table"]

Entry = TypeVar("Entry")


class Table(MutableMapping[str, Entry], Generic[Entry]):
    """Name -> entry.

    Args:
        entries: what comes with whet.
        kind: class of the entries, which those of a file must have too; for ``str`` an entry
            is the module that defines the function ``function``.
        function: see ``kind``.

    A name of the form ``FILE.py:NAME`` is looked up in that file; looking it up raises InputError
    where the file, the name or the class is wrong.
    """

    def __init__(self, entries: Mapping[str, Entry], kind: type[Entry], function: str = "") -> None:
        self._entries, self._kind, self._function = dict(entries), kind, function

    def __getitem__(self, name: str) -> Entry:
        if ".py:" not in name:
            return self._entries[name]
        file, _, attribute = name.rpartition(":")
        module = _module(Path(file))
        found: object = getattr(module, attribute, None)
        if self._function and attribute == self._function and callable(found):
            found = module.__name__
        elif self._function:
            found = None
        if not isinstance(found, self._kind):
            wanted = f"function {self._function}()" if self._function else self._kind.__name__
            raise InputError(f"{name} is no {wanted}; define it in {file}")
        return found

    def __contains__(self, name: object) -> bool:
        if isinstance(name, str) and ".py:" in name:
            return self[name] is not None
        return name in self._entries

    def __setitem__(self, name: str, entry: Entry) -> None:
        self._entries[name] = entry

    def __delitem__(self, name: str) -> None:
        del self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def _module(path: Path) -> ModuleType:
    """Run a file once per version of its text, and return it as a module."""
    try:
        digest = hashlib.sha256(path.resolve().as_posix().encode() + path.read_bytes())
    except OSError:
        raise InputError(f"{path}: no such file; name the file that defines it") from None
    name = f"whet_own_{path.stem}_{digest.hexdigest()[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    # Registered first: dataclasses and ``ModelSpec(module=__name__)`` look it up while it runs.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # it is someone's own program, and may raise anything
        del sys.modules[name]
        raise InputError(f"{path} cannot be run: {type(error).__name__}: {error}") from error
    return module
