"""The tensors of a PyTorch checkpoint, read by PyTorch with ``weights_only=True``."""

import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cellzoo.errors import UserError

# Keys under which a training program usually keeps the state_dict among other things.
_STATE_DICT_KEYS = ("state_dict", "model_state_dict", "model")


def read_state_dict(path: str | Path) -> dict[str, np.ndarray]:
    """Reads the ``state_dict`` of a checkpoint.

    The file holds a ``state_dict``, or a dict with one beside other things, such as
    ``{"epoch": 3, "state_dict": {...}, "optimizer": {...}}``. PyTorch reads tensors and plain data
    only and runs nothing else that the file asks for.

    Args:
        path: a file that ``torch.save`` wrote, usually ``.pth`` or ``.pt``.

    Returns:
        Arrays by parameter name, in the file's order. Shapes and dtypes are the file's; bfloat16
        becomes float32. Arrays may share memory, as tensors of one storage do.

    Raises:
        UserError: PyTorch is not installed; or the file is missing, no PyTorch checkpoint,
            damaged, without a ``state_dict``, or asks for more than tensors and plain data.
    """
    path = Path(path)
    try:
        import torch  # seconds, and only this verb needs it
    except ImportError:
        raise UserError(
            f"{path} is read by PyTorch, which is not installed: "
            "pip install 'cellzoo[torch]'."
        ) from None
    try:
        _check_size(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
        return {name: _array(name, tensor, path) for name, tensor in _find(content, path).items()}
    except UserError:
        raise
    except pickle.UnpicklingError as error:
        asked = re.search(r"GLOBAL (\S+)", str(error))
        raise UserError(
            f"{path} asks for {asked[1] if asked else 'more than tensors'} when it is loaded and "
            "was not opened: where you trust it, load it with PyTorch and save "
            "model.state_dict() alone."
        ) from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}.") from None
    except Exception as error:  # whatever bytes without sense make PyTorch raise
        reason = " ".join(str(error).split())[:80] or type(error).__name__
        raise UserError(
            f"{path} is not a PyTorch checkpoint, or it is damaged ({reason}): download or copy "
            "it again."
        ) from None


def _check_size(path: Path) -> None:
    """Refuses an archive that unpacks to more than its own size: PyTorch does not compress."""
    with path.open("rb") as file:
        if not zipfile.is_zipfile(file):
            return
        with zipfile.ZipFile(file) as archive:
            unpacked = sum(record.file_size for record in archive.infolist())
    if unpacked > path.stat().st_size:
        raise UserError(
            f"{path} is no checkpoint as PyTorch writes it: its parts are compressed or overlap. "
            "Save it again with torch.save."
        )


def _find(content: Any, path: Path) -> Mapping[str, Any]:
    """The named tensors in what the file holds."""
    import torch

    def tensors(value: Any) -> dict[str, Any]:
        entries = value.items() if isinstance(value, Mapping) else ()
        return {
            key: tensor
            for key, tensor in entries
            if isinstance(key, str) and isinstance(tensor, torch.Tensor)
        }

    entries = content.items() if isinstance(content, Mapping) else ()
    nested = {key: found for key, value in entries if (found := tensors(value))}
    for key in _STATE_DICT_KEYS:
        if key in nested:
            return nested[key]
    if found := tensors(content):
        return found
    if len(nested) > 1:
        raise UserError(
            f"{path} holds several sets of tensors ({', '.join(map(str, nested))}), none of them "
            "called state_dict: save the model.state_dict() that you want alone."
        )
    if not nested:
        raise UserError(
            f"{path} holds no named tensors: save model.state_dict() with torch.save."
        )
    return next(iter(nested.values()))


def _array(name: str, tensor: Any, path: Path) -> np.ndarray:
    import torch

    tensor = tensor.detach()
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise UserError(
            f"{path}: the tensor {name} repeats its values over {tuple(tensor.shape)}: save a copy "
            "of it that is contiguous."
        )
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
