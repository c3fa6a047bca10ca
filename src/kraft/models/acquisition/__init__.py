"""Active selection: which frames of a pool are worth their labels."""

from kraft.models.acquisition.selection import SelectedFrames, select_frames

__all__ = ["SelectedFrames", "select_frames"]
