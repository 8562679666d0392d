"""The servers and processes that one `docmill` command starts for itself."""

from scripts.stack.errors import StackBusy, StackError

__all__ = ["StackBusy", "StackError"]
