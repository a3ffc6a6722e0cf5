"""GGUF files made from others: in another type, or from the safetensors of the tiny random model."""

import sys
from pathlib import Path

from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter
from gguf.quants import dequantize

sys.path.insert(0, str(Path(__file__).parent.parent / "model"))
from to_gguf import add_matrix, close, convert  # noqa: E402

# What the writer sets by itself.
OF_THE_CONTAINER = ("GGUF.", "general.architecture", "general.file_type", "general.quantization_version")


def requantised(source, target, kind):
    """The same model with all its matrices in one type."""
    reader = GGUFReader(source)
    writer = GGUFWriter(target, "gemma3")
    for name, field in reader.fields.items():
        if not name.startswith(OF_THE_CONTAINER):
            of_list = field.types[0] == GGUFValueType.ARRAY
            writer.add_key_value(name, field.contents(), field.types[0], field.types[-1] if of_list else None)
    for tensor in reader.tensors:
        if len(tensor.shape) == 1:
            writer.add_tensor(tensor.name, tensor.data)
        else:
            add_matrix(writer, tensor.name, dequantize(tensor.data, tensor.tensor_type), kind)
    close(writer)
    return target


def tiny(source, folder, kind=GGMLQuantizationType.F32):
    """The decoder of the tiny model, its vision tower in a file beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    decoder, tower = convert(source, folder / "tiny", kind)
    tower.rename(folder / "mmproj-tiny.gguf")
    return decoder
