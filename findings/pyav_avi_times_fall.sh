#!/usr/bin/env bash
# PyAV: VideoFrame.time, documented as the presentation time, is not that for AVI with B-frames: it goes back and forth.
# Twenty pictures, ever brighter, ten per second. They are decoded in the right order, and their times should be
# 0.0, 0.1, 0.2 ...; the same pictures in MP4 have these times. Whoever picks pictures of an AVI by time gets wrong ones.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet av==18.1.0 numpy==2.2.6
cd "$folder"
venv/bin/python - <<'PYTHON'
import sys

import av
import numpy as np


def film(path):
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"bf": "2", "b_strategy": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(20):
            picture = np.full((48, 64, 3), 10 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    with av.open(path) as container:
        frames = list(container.decode(video=0))
        levels = [round(float(frame.to_ndarray(format="rgb24").mean()) / 10) for frame in frames]
        return levels, [None if frame.time is None else round(frame.time, 3) for frame in frames]


print("av", av.__version__, "libavformat", av.library_versions["libavformat"])
expected = [round(number / 10, 3) for number in range(20)]
surprise = {}
for path in ("x.mp4", "x.avi"):
    levels, times = film(path)
    print(path, "pictures in order:", levels == list(range(20)))
    print("  times expected:", expected[:6], "...")
    print("  times seen:    ", times[:6], "...")
    stated = [time for time in times if time is not None]
    surprise[path] = any(later < earlier for earlier, later in zip(stated, stated[1:]))
    if levels != list(range(20)):
        sys.exit("the pictures themselves are out of order: this is something else")
if surprise != {"x.mp4": False, "x.avi": True}:
    sys.exit(f"behaviour has changed: times fall: {surprise}")
print("as found: times of the AVI fall, those of the MP4 do not")
PYTHON
