#!/usr/bin/env bash
# soundfile (libsndfile): of a WAV as a recorder that streams leaves it, with 0xFFFFFFFF for the size of the sound and a
# LIST chunk of metadata behind it, the metadata is read as sound; with 0 for the size, as other recorders leave it, no
# sound is read. Neither is an error or a warning. Expected both times: the 8,000 samples that were recorded.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet soundfile==0.14.0 numpy==2.2.6
cd "$folder"
venv/bin/python - <<'PYTHON'
import struct
import sys

import numpy as np
import soundfile

recorded = (8000 * np.sin(np.arange(8000) / 10)).astype(np.int16)
format_chunk = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16_000, 2, 16)
software = b"Lavf58.29.100\0"
text = b"INFOISFT" + struct.pack("<I", len(software)) + software
metadata = b"LIST" + struct.pack("<I", len(text)) + text
print("soundfile", soundfile.__version__, soundfile.__libsndfile_version__)
seen = {}
for size in (recorded.nbytes, 0xFFFFFFFF, 0):
    data = b"data" + struct.pack("<I", size) + recorded.tobytes()
    body = b"WAVE" + format_chunk + data + metadata
    with open("x.wav", "wb") as file:
        file.write(b"RIFF" + struct.pack("<I", len(body) if size == recorded.nbytes else size) + body)
    sound, _ = soundfile.read("x.wav", dtype="int16")
    seen[size] = len(sound)
    print(f"size stated {size:#x}: expected 8000 samples, seen {len(sound)}; the last are {sound[-4:].tolist()}")
expected = {recorded.nbytes: 8000, 0xFFFFFFFF: 8000 + len(metadata) // 2, 0: 0}
if seen != expected:
    sys.exit(f"behaviour has changed: {seen}, found at the time: {expected}")
print("as found: 17 samples that are the text of the metadata; no sound at all")
PYTHON
