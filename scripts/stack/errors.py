"""What can go wrong with the embedded stack, each told so that a person knows what to do."""


class StackError(RuntimeError):
    """A part of the stack cannot run. The first line says all; lines of the part's log may follow it."""


class StackBusy(StackError):
    """Another stack runs on the same data folder."""
