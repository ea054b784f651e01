"""A KV cache whose rows come and go while the others grow.

The last tokens of all rows share a column, so a step writes one column, in place, and the masks of transformers apply.
A row that joins is aligned to that column, on the left of which a shorter row leaves columns unused; a row that leaves
is replaced by the last one. Columns that no row uses any more are left out of the views that the model sees. When the
columns are used up, the used ones move to new tensors, layer by layer.

transformers' own cache copies all keys and values in every step, and whenever a row leaves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig

__all__ = ["RowCache"]


class RowCache(DynamicCache):
    """The keys and values of some rows. A layer with a sliding window keeps the columns before it as well."""

    def __init__(self, config: PreTrainedConfig) -> None:
        super().__init__(config=config)
        self.layers: list[_Layer] = [_Layer(self) for _ in self.layers]
        self.lengths: list[int] = []  # tokens of each row
        self.end = 0  # the column of the next token
        self._places = self._columns = 0  # rows and columns for which the tensors have room

    @property
    def start(self) -> int:
        """The first column that a row uses."""
        return self.end - max(self.lengths, default=0)

    def reserve(self, *, rows: int, prompt: int, further: int) -> None:
        """Make room for `rows` rows in all, of which new ones have up to `prompt` tokens, and for the next token.

        If that takes new tensors, they get `further` columns for next tokens, and some more rows than before.
        """
        if rows <= self._places and prompt <= self.end < self._columns:
            return
        start, before = self.start, max(self.end - self.start, prompt)
        if rows > self._places:
            self._places = max(rows, self._places * 9 // 8)
        self._columns = before + further
        for layer in self.layers:
            if layer.is_initialized:
                layer.move(len(self.lengths), slice(start, self.end), before)
        self.end = before

    def add(self, cache: DynamicCache, row: int, length: int) -> None:
        """Append a row: the last `length` tokens of a row of another cache. There must be room for it."""
        place = len(self.lengths)
        for layer, other in zip(self.layers, cache.layers, strict=True):
            layer.put(place, self.end, other.keys[row, :, -length:], other.values[row, :, -length:])
        self.lengths.append(length)

    def remove(self, place: int) -> None:
        """Remove a row; the last one takes its place."""
        last = len(self.lengths) - 1
        if place != last:
            for layer in self.layers:
                layer.put(place, self.end, *layer.get(last, slice(self.end - self.lengths[last], self.end)))
        self.lengths[place] = self.lengths[last]
        self.lengths.pop()

    def make_mask(self, device: torch.device) -> torch.Tensor:
        """Return the attention mask of a step of one token, int64 (rows, used columns + 1)."""
        import torch

        lengths = torch.tensor(self.lengths, device=device)[:, None]
        width = self.end - self.start
        return (torch.arange(width + 1, device=device) >= width - lengths).long()

    def advance(self) -> None:
        """Count the tokens that a step has written."""
        self.end += 1
        self.lengths = [length + 1 for length in self.lengths]

    def room(self, like: torch.Tensor) -> torch.Tensor:
        """Return a zeroed tensor for a layer's keys or values, float (rows, heads, columns, size)."""
        return like.new_zeros(self._places, like.shape[-3], self._columns, like.shape[-1])


class _Layer(DynamicLayer):
    """The keys and values of one layer, as parts of larger tensors. Unused places are zero or old, never NaN."""

    is_sliding = False  # so that masks cover all columns; they apply the window
    is_initialized: bool

    def __init__(self, cache: RowCache) -> None:
        super().__init__()
        self._cache = cache

    def put(self, place: int, end: int, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Write the states of a row's last tokens, float (heads, tokens, size)."""
        if not self.is_initialized:
            self.dtype, self.device, self.is_initialized = keys.dtype, keys.device, True
            self.keys, self.values = self._cache.room(keys), self._cache.room(values)
        self.keys[place, :, end - keys.shape[-2] : end] = keys
        self.values[place, :, end - values.shape[-2] : end] = values

    def get(self, place: int, columns: slice) -> tuple[torch.Tensor, torch.Tensor]:
        return self.keys[place, :, columns], self.values[place, :, columns]

    def move(self, rows: int, columns: slice, end: int) -> None:
        """Move the used rows and columns into new tensors, in which they end before the column `end`."""
        start = end - (columns.stop - columns.start)
        for name in ("keys", "values"):
            old = getattr(self, name)
            new = self._cache.room(old)
            new[:rows, :, start:end] = old[:rows, :, columns]
            setattr(self, name, new)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write the states of one further token, and return those of all used columns."""
        rows, start, end = key_states.shape[0], self._cache.start, self._cache.end
        self.keys[:rows, :, end : end + 1] = key_states
        self.values[:rows, :, end : end + 1] = value_states
        return self.keys[:rows, :, start : end + 1], self.values[:rows, :, start : end + 1]

    def get_seq_length(self) -> int:
        return self._cache.end - self._cache.start

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.get_seq_length() + query_length, 0
