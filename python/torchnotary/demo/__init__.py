"""The demo: a real model recorded, verified, reproduced, and tampered with in every way we know.

Everything it writes, keys and log included, lies in one folder of its own.
"""

from __future__ import annotations

import os
from pathlib import Path

DEFAULT_OUTPUT = Path("demo-output")


def main(output: str | os.PathLike[str] = DEFAULT_OUTPUT) -> int:
    """Tells the whole story on stdout; 0 only if every part of it held, 1 otherwise.

    Raises NotaryError where the model, transformers or torch are missing, or where ``output``
    cannot be written.
    """
    from .home import own_home
    from .minilm import require_parts
    from .screen import Screen

    folder = Path(output)
    require_parts()
    with own_home(folder) as home:
        from .story import tell

        return 0 if tell(folder, home, Screen()) else 1
