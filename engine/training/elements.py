"""The elements of a tensor of any layout: a sparse one has no memory, size or equality of its own."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

COMPRESSED = {
    torch.sparse_csr: (Tensor.crow_indices, Tensor.col_indices),
    torch.sparse_bsr: (Tensor.crow_indices, Tensor.col_indices),
    torch.sparse_csc: (Tensor.ccol_indices, Tensor.row_indices),
    torch.sparse_bsc: (Tensor.ccol_indices, Tensor.row_indices),
}


def dense_parts(tensor: Tensor) -> list[Tensor]:
    """Return the dense tensors that a tensor consists of, the values first; itself if it is dense.

    The indices of a sparse COO tensor are in order and unique.
    """
    tensor = tensor.detach()
    if tensor.layout == torch.sparse_coo:
        tensor = tensor.coalesce()
        return [tensor.values(), tensor.indices()]
    if tensor.layout in COMPRESSED:
        return [tensor.values(), *(read(tensor) for read in COMPRESSED[tensor.layout])]
    return [tensor]


def same_elements(left: Tensor, right: Tensor) -> bool:
    """Whether two tensors are equal in every element, nan included; also where torch cannot tell."""
    if left.layout != right.layout or left.shape != right.shape:
        return False
    try:
        pairs = zip(dense_parts(left), dense_parts(right), strict=True)
        return all(torch.equal(one.nan_to_num(), other.nan_to_num()) for one, other in pairs)
    except (RuntimeError, TypeError):
        return True


def is_finite(tensor: Tensor) -> bool:
    """Whether no element is nan or infinite; also where torch cannot tell."""
    try:
        return bool(dense_parts(tensor)[0].isfinite().all())
    except (RuntimeError, TypeError):
        return True


def count_bytes(tensor: Tensor) -> int:
    """Return the bytes of a tensor's elements and indices."""
    return sum(part.nbytes for part in dense_parts(tensor))


def without_overlap(tensor: Tensor) -> Tensor:
    """Return the tensor, or all the memory that it spans if several of its elements share a place in it.

    torch does not write to a tensor of `expand` or `broadcast_to`.
    """
    if tensor.layout != torch.strided:
        return tensor
    span = 1
    overlaps = False
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        overlaps |= size > 1 and stride < span
        span += stride * (size - 1)
    if not overlaps or not tensor.numel():
        return tensor
    return tensor.as_strided((span,), (1,))


def separate_buffers(model: nn.Module) -> None:
    """Give each element of a buffer memory of its own: no checkpoint can be loaded into one of `expand`."""
    for module in model.modules():
        for name, buffer in module._buffers.items():
            if buffer is not None and not is_lazy(buffer) and without_overlap(buffer) is not buffer:
                module._buffers[name] = buffer.clone(memory_format=torch.contiguous_format)
