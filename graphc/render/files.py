"""Saving a view under a name whose suffix says the form.

Knows files, and no view.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from graphc.errors import RenderError

Forms = Mapping[str, Callable[[], str | bytes]]


def save(path: str | os.PathLike[str], forms: Forms) -> None:
    """Write the form that the suffix of ``path`` names; missing folders are made.

    The file appears whole or not at all.

    Errors: RenderError for another suffix, listing those that there are; OSError
    """
    target = Path(path)
    form = forms.get(target.suffix.lower())
    if form is None:
        said = f"the suffix {target.suffix!r}" if target.suffix else "a name without a suffix"
        raise RenderError(
            f"{said} names no form of this view: {target.name}", hint="one of " + " ".join(forms)
        )
    content = form()
    written = content.encode() if isinstance(content, str) else content
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=".", suffix=target.suffix)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(written)
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
