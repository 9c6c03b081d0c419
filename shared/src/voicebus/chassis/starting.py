"""How a process starts: nothing is collected until it works.

What is imported and made until then is kept for good. To look through it again and again took a third of the start.
"""

import gc
from importlib import import_module


def run(module: str) -> None:
    """Imports the module and calls its `main`."""
    gc.disable()
    import_module(module).main()


def started() -> None:
    """What there is now stays, and is not looked at again; what comes is collected. Nothing happens without `run`."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
