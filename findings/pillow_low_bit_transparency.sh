#!/usr/bin/env bash
# Pillow 13.0.0: in a grey PNG of 2 or 4 bits with a transparent grey (chunk tRNS), the pixels are scaled to 0 ... 255 when
# the file is opened, but info["transparency"] stays the small number of the file. So convert("RGBA") looks for a grey that
# no longer exists: the pixels that should be transparent come out opaque, in the colour that was to be hidden. Of 8 bits
# the same picture comes out transparent.
#
# Seen: 2 bits: transparency 1, pixels [0, 85, 170, 255], alpha [255, 255, 255, 255]
#       4 bits: transparency 5, pixels [0, 85, 170, 255], alpha [255, 255, 255, 255]
#       8 bits: transparency 85, pixels [0, 85, 170, 255], alpha [255, 0, 255, 255]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pillow==13.0.0
"$folder/venv/bin/python" - <<'PYTHON'
import io
import struct
import zlib

from PIL import Image


def chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(bits, row, transparent):
    """Four grey pixels from black to white, the second one transparent."""
    header = struct.pack(">IIBBBBB", 4, 1, bits, 0, 0, 0, 0)
    parts = [(b"IHDR", header), (b"tRNS", struct.pack(">H", transparent)), (b"IDAT", zlib.compress(b"\0" + row))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts) + chunk(b"IEND", b"")


expected = {2: (1, [255] * 4), 4: (5, [255] * 4), 8: (85, [255, 0, 255, 255])}
for bits, row, key in [(2, bytes([0b00011011]), 1), (4, bytes([0x05, 0xAF]), 5), (8, bytes([0, 85, 170, 255]), 85)]:
    image = Image.open(io.BytesIO(png(bits, row, key)))
    pixels = list(image.tobytes())
    alpha = list(image.convert("RGBA").getchannel("A").tobytes())
    print(f"{bits} bits: transparency {image.info['transparency']}, pixels {pixels}, alpha {alpha}")
    assert pixels == [0, 85, 170, 255]
    assert (image.info["transparency"], alpha) == expected[bits]
PYTHON
