"""TensorBoard's event file, read back by the protobuf library and by the record format's rules."""

import math
import struct

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from common.training.event_file import EventFile, crc32c

_FIELD = descriptor_pb2.FieldDescriptorProto
# {message: {field: (number, type)}} of tensorflow/core/util/event.proto and tensorflow/core/framework/summary.proto.
_MESSAGES = {
  "Image": {"height": (1, "INT32"), "width": (2, "INT32"), "colorspace": (3, "INT32"), "png": (4, "BYTES")},
  "Value": {"tag": (1, "STRING"), "simple_value": (2, "FLOAT"), "image": (4, "Image")},
  "Summary": {"value": (1, "Value")},
  "SessionLog": {"status": (1, "INT32")},
  "Event": {
    "wall_time": (1, "DOUBLE"),
    "step": (2, "INT64"),
    "file_version": (3, "STRING"),
    "summary": (5, "Summary"),
    "session_log": (7, "SessionLog"),
  },
}


def _event_class():
  file = descriptor_pb2.FileDescriptorProto(name="event_file_test.proto", package="test", syntax="proto2")
  for name, fields in _MESSAGES.items():
    message = file.message_type.add(name=name)
    for field, (number, kind) in fields.items():
      label = _FIELD.LABEL_REPEATED if name == "Summary" else _FIELD.LABEL_OPTIONAL
      added = message.field.add(name=field, number=number, label=label)
      if kind in _MESSAGES:
        added.type, added.type_name = _FIELD.TYPE_MESSAGE, f".test.{kind}"
      else:
        added.type = getattr(_FIELD, f"TYPE_{kind}")
  pool = descriptor_pool.DescriptorPool()
  pool.Add(file)
  return message_factory.GetMessageClass(pool.FindMessageTypeByName("test.Event"))


def _checked(data: bytes, masked: bytes) -> bytes:
  """The data, whose CRC must be what its masked form holds, unmasked as TensorFlow does it."""
  rotated = (struct.unpack("<I", masked)[0] - 0xA282EAD8) % 2**32
  assert crc32c(data) == (rotated >> 17 | rotated << 15) % 2**32
  return data


def _events(directory):
  (path,) = directory.glob("*tfevents*")
  content, event = path.read_bytes(), _event_class()
  while content:
    (length,) = struct.unpack("<Q", _checked(content[:8], content[8:12]))
    yield event.FromString(_checked(content[12 : 12 + length], content[12 + length : 16 + length]))
    content = content[16 + length :]


def test_crc32c_of_the_published_examples():
  # RFC 3720, B.4, and the check value that every catalogue of CRCs lists.
  assert crc32c(b"123456789") == 0xE3069283
  assert crc32c(bytes(32)) == 0x8A9136AA
  assert crc32c(bytes([0xFF] * 32)) == 0x62A8AB43
  assert crc32c(bytes(range(32))) == 0x46DD794E


def test_what_is_written_is_read_back(tmp_path):
  file = EventFile(tmp_path, purge_step=301)
  file.scalars(2**33, {"train/loss": 0.5, "train/é": -3.0, "train/huge": 1e300, "train/nan": math.nan})
  file.image(300, "samples", b"\x89PNG" + bytes(300), (20, 300, 3))
  file.close()
  version, purge, scalars, image = _events(tmp_path)
  assert version.file_version == "brain.Event:2" and version.wall_time > 1e9
  assert (purge.step, purge.session_log.status) == (301, 1)
  values = {value.tag: value.simple_value for value in scalars.summary.value}
  assert scalars.step == 2**33 and math.isnan(values.pop("train/nan"))
  assert values == {"train/loss": 0.5, "train/é": -3.0, "train/huge": math.inf}
  (value,) = image.summary.value
  picture = value.image
  assert (image.step, value.tag, picture.height, picture.width, picture.colorspace) == (300, "samples", 20, 300, 3)
  assert picture.png == b"\x89PNG" + bytes(300)


def test_a_first_start_purges_nothing(tmp_path):
  EventFile(tmp_path).close()
  assert [event.file_version for event in _events(tmp_path)] == ["brain.Event:2"]
