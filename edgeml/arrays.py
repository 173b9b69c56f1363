"""What annotations call numpy's arrays, without `numpy.typing`, whose import takes 2 ms.

A type checker sees the real types; at run time they are numpy's one class of arrays.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Array = NDArray[Any]
    Floats = NDArray[np.float32]
    Wide = NDArray[np.float64]
    Ints = NDArray[np.int32]
else:
    ArrayLike = object
    Array = Floats = Wide = Ints = np.ndarray

__all__ = ["Array", "ArrayLike", "Floats", "Ints", "Wide"]
