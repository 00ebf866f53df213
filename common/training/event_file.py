"""TensorBoard's event file, written directly: tensorboardX imports PyTorch wherever that is installed (2 s, 200 MB).

A file is a sequence of records: the length (uint64, little endian), the masked CRC-32C of those 8 bytes, the message,
and its masked CRC-32C (TensorFlow's tensorflow/core/lib/io/record_writer.h). A message is an Event in protocol buffers'
wire format; the field numbers are those of tensorflow/core/util/event.proto and framework/summary.proto.
"""

import functools
import os
import socket
import struct
import time
from pathlib import Path

import numpy as np

from common.files import append_bytes

_VARINT, _DOUBLE, _BYTES, _FLOAT = 0, 1, 2, 5  # wire types
_SESSION_START = 1


class EventFile:
  """Appends events to a new file in ``directory``, unbuffered.

  Args:
    directory: made if it is missing.
    purge_step: TensorBoard discards events of older files at this step and later ones; 0 for a first start.
  """

  def __init__(self, directory: Path, purge_step: int = 0):
    directory.mkdir(parents=True, exist_ok=True)
    now = time.time()
    name = f"events.out.tfevents.{int(now):010d}.{socket.gethostname()}.{os.getpid()}"
    self._file = (directory / name).open("ab", buffering=0)
    self._event(0, _bytes(3, b"brain.Event:2"))  # the version, which must come first
    if purge_step:
      self._event(purge_step, _bytes(7, _integer(1, _SESSION_START)))

  def scalars(self, step: int, values: dict[str, float]) -> None:
    """Writes one figure for each tag; those beyond float32's range become infinite."""
    summary = b"".join(
      _bytes(1, _bytes(1, tag.encode()) + _tag(2, _FLOAT) + _float32(value)) for tag, value in values.items()
    )
    self._event(step, _bytes(5, summary))

  def image(self, step: int, tag: str, png: bytes, shape: tuple[int, int, int]) -> None:
    """Writes the bytes of a PNG file of ``shape`` (height, width, channels)."""
    picture = b"".join(_integer(1 + i, size) for i, size in enumerate(shape)) + _bytes(4, png)
    self._event(step, _bytes(5, _bytes(1, _bytes(1, tag.encode()) + _bytes(4, picture))))

  def close(self) -> None:
    self._file.close()

  def _event(self, step: int, content: bytes) -> None:
    message = _tag(1, _DOUBLE) + struct.pack("<d", time.time()) + _integer(2, step) + content
    length = struct.pack("<Q", len(message))
    append_bytes(self._file, length + _checksum(length) + message + _checksum(message))


def _float32(value: float) -> bytes:
  with np.errstate(over="ignore"):
    return np.float32(value).astype("<f4").tobytes()


def _tag(field: int, wire_type: int) -> bytes:
  return _varint(field << 3 | wire_type)


def _integer(field: int, value: int) -> bytes:
  return _tag(field, _VARINT) + _varint(value)


def _bytes(field: int, value: bytes) -> bytes:
  return _tag(field, _BYTES) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
  """Encodes seven bits per byte, the lowest first; all bytes but the last have the top bit set."""
  digits = bytearray()
  while value >= 0x80:
    digits.append(value & 0x7F | 0x80)
    value >>= 7
  digits.append(value)
  return bytes(digits)


@functools.cache
def _crc_table() -> tuple[int, ...]:
  """The table of CRC-32C (Castagnoli), polynomial 0x1EDC6F41 with its bits reversed."""
  table = []
  for crc in range(256):
    for _ in range(8):
      crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    table.append(crc)
  return tuple(table)


def crc32c(data: bytes) -> int:
  """Computes the CRC-32C of ``data`` (RFC 3720, Section 12.1)."""
  table, crc = _crc_table(), 0xFFFFFFFF
  for byte in data:
    crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
  return crc ^ 0xFFFFFFFF


def _checksum(data: bytes) -> bytes:
  """Computes the masked CRC of records: rotated by 15 bits, plus a constant."""
  crc = crc32c(data)
  return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)
