"""Statistics over windows of dense arrays (series × period) in which NaN means unknown.

Every function takes the columns it may see and nothing else; a window without a known value gives NaN.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int32]
Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


def ratio(numerator: npt.ArrayLike, denominator: npt.ArrayLike) -> FloatArray:
    """Numerator / denominator, NaN where the denominator is zero or unknown."""
    top, bottom = np.broadcast_arrays(np.asarray(numerator, np.float32), np.asarray(denominator, np.float32))
    out = np.full(top.shape, np.nan, dtype=np.float32)
    np.divide(top, bottom, out=out, where=bottom != 0)
    return out


def tail(values: FloatArray, periods: int) -> FloatArray:
    """The last `periods` columns, filled with unknown on the left where history is shorter."""
    missing = periods - values.shape[1]
    if missing <= 0:
        return values[:, values.shape[1] - periods :]
    return np.pad(values, ((0, 0), (missing, 0)), constant_values=np.nan)


def take(values: FloatArray, columns: npt.NDArray[np.int64]) -> FloatArray:
    """Values at the given columns (any shape), unknown where a column lies outside: series × shape of `columns`."""
    inside = (columns >= 0) & (columns < values.shape[1])
    if values.shape[1] == 0:
        return np.full((values.shape[0], *columns.shape), np.nan, dtype=np.float32)
    out = values.take(columns, axis=1, mode="clip")
    out[:, ~inside] = np.nan
    return out


def only(values: FloatArray, where: BoolArray) -> FloatArray:
    """Values where told, 0 elsewhere."""
    # by their bits: a choice between two values costs ten times as much where it follows no pattern
    bits = np.ascontiguousarray(values).view(np.int32) & -where.view(np.int8).astype(np.int32)
    return bits.view(np.float32)


def total(values: FloatArray) -> Float64Array:
    """Sums over the last axis, in double precision."""
    # einsum adds short rows three times as fast as np.sum, and like it one row at a time
    sums: Float64Array = np.einsum("...j->...", values.astype(np.float64))
    return sums


def count(where: BoolArray) -> FloatArray:
    """How many are true along the last axis."""
    counts: FloatArray = np.einsum("...j->...", where.astype(np.float32))
    return counts


def mean(window: FloatArray, axis: int = -1) -> FloatArray:
    """Mean of the known values along an axis."""
    window = np.moveaxis(window, axis, -1)
    sums = total(window)
    known = np.full(sums.shape, window.shape[-1], dtype=np.float32)
    gaps = np.isnan(sums)
    if gaps.any():
        holed = window[gaps]
        valid = ~np.isnan(holed)
        sums[gaps], known[gaps] = total(only(holed, valid)), count(valid)
    return ratio(sums, known)


def mean_positive(window: FloatArray) -> FloatArray:
    """Mean of the values above zero along the last axis."""
    positive = window > 0
    return ratio(total(only(window, positive)), count(positive))


def weighted_mean(window: FloatArray, weights: FloatArray) -> FloatArray:
    """Mean of the known values with one weight a column."""
    # sums, not matrix products: BLAS rounds a row differently in batches of different size
    valid = ~np.isnan(window)
    return ratio(total(only(window, valid) * weights), total(valid * weights))


def deviation(window: FloatArray) -> FloatArray:
    """Population standard deviation of the known values."""
    centred = window - mean(window)[:, None]
    return np.sqrt(mean(centred * centred))


def median(window: FloatArray) -> FloatArray:
    """Median of the known values along the last axis."""
    ordered = np.sort(window, axis=-1)  # unknown values go last
    count = (~np.isnan(window)).sum(axis=-1, keepdims=True)
    low = np.take_along_axis(ordered, np.maximum(count - 1, 0) // 2, axis=-1)
    high = np.take_along_axis(ordered, np.minimum(count // 2, window.shape[-1] - 1), axis=-1)
    middle = ((low + high) / 2)[..., 0]
    return np.where(count[..., 0] > 0, middle, np.nan).astype(np.float32)


def share_positive(window: FloatArray) -> FloatArray:
    """Share of the known values that are above zero."""
    return ratio(count(window > 0), count(~np.isnan(window)))


def last_valid_mean(values: FloatArray, periods: int) -> FloatArray:
    """Mean of the last `periods` known values, however far back they lie."""
    recent = values[:, max(0, values.shape[1] - periods) :]
    means = mean(recent)
    short = np.flatnonzero(np.isnan(total(recent)))
    older = short[~np.isnan(values[short, : values.shape[1] - recent.shape[1]]).all(axis=1)]
    if len(older):
        valid = ~np.isnan(values[older])
        after = np.cumsum(valid[:, ::-1], axis=1, dtype=np.int32)[:, ::-1]
        means[older] = mean(np.where(valid & (after <= periods), values[older], np.float32(np.nan)))
    return means


def periods_since(event: npt.NDArray[np.bool_]) -> FloatArray:
    """Columns since the last true one (0 = the last column itself), NaN where there was none."""
    if event.shape[1] == 0:
        return np.full(event.shape[0], np.nan, dtype=np.float32)
    back = np.argmax(event[:, ::-1], axis=1).astype(np.float32)
    return np.where(event.any(axis=1), back, np.nan).astype(np.float32)


def distinct(values: FloatArray, most: int) -> int:
    """How many different known values there are; counting stops after `most`."""
    left = values[~np.isnan(values)]
    count = 0
    while len(left) and count <= most:
        count, left = count + 1, left[left != left[0]]
    return count
