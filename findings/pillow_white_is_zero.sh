#!/usr/bin/env bash
# Pillow 13.0.0: a grey TIFF may say that 0 is white (PhotometricInterpretation 0, as scanners and fax machines write it).
# Of 8 bits Pillow inverts such a picture when it opens it; of 16 bits it does not, and gives no sign of it: the same
# picture in two depths comes out as a positive and as a negative.
#
# Seen: 8 bits, 0 is white: mode L, [255, 191, 0]
#       16 bits, 0 is white: mode I;16, [0, 16384, 65535]
#       16 bits, 0 is black: mode I;16, [0, 16384, 65535]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pillow==13.0.0
"$folder/venv/bin/python" - <<'PYTHON'
import io
import struct

from PIL import Image


def tiff(bits, values, photometric):
    """An uncompressed little-endian TIFF of one row of greys."""
    data = struct.pack(f"<{len(values)}{'B' if bits == 8 else 'H'}", *values)
    tags = [
        (256, 4, len(values)), (257, 4, 1), (258, 3, bits), (259, 3, 1), (262, 3, photometric),
        (273, 4, 8), (277, 3, 1), (278, 4, 1), (279, 4, len(data)),
    ]
    padded = data + b"\0" * (len(data) % 2)
    entries = b"".join(
        struct.pack("<HHI", tag, kind, 1) + struct.pack("<I" if kind == 4 else "<HH", *((value,) if kind == 4 else (value, 0)))
        for tag, kind, value in tags
    )
    return b"II*\0" + struct.pack("<I", 8 + len(padded)) + padded + struct.pack("<H", len(tags)) + entries + b"\0" * 4


seen = {}
for bits, values, photometric in [(8, [0, 64, 255], 0), (16, [0, 16384, 65535], 0), (16, [0, 16384, 65535], 1)]:
    image = Image.open(io.BytesIO(tiff(bits, values, photometric)))
    seen[bits, photometric] = [image.getpixel((x, 0)) for x in range(3)]
    zero = "white" if photometric == 0 else "black"
    print(f"{bits} bits, 0 is {zero}: mode {image.mode}, {seen[bits, photometric]}")
assert seen[8, 0] == [255, 191, 0]
assert seen[16, 0] == seen[16, 1] == [0, 16384, 65535]
PYTHON
