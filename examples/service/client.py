"""Read photos through a server:    python client.py http://localhost:8000 photo.jpg ...

The key of a server that asks for one comes from the variable FEREMBED_KEY. A busy server says when
to try again.
"""

import os
import sys
import time
from pathlib import Path

import httpx

if len(sys.argv) < 3:
    sys.exit(__doc__)

url, *photos = sys.argv[1:]
key = os.environ.get("FEREMBED_KEY")
headers = {"Authorization": f"Bearer {key}"} if key else {}

with httpx.Client(base_url=url, headers=headers, timeout=60) as client:
    for photo in photos:
        while True:
            files = {"picture": (Path(photo).name, Path(photo).read_bytes())}
            answer = client.post("/v1/analyze", files=files, params={"lang": "en"})
            if answer.status_code not in (429, 503):
                break
            time.sleep(float(answer.headers.get("Retry-After", 1)))
        if answer.is_error:
            print(f"{photo}: {answer.json()['detail']}")
            continue
        (picture,) = answer.json()["pictures"]
        if not picture["faces"]:
            print(f"{photo}: no face found")
        for face in picture["faces"]:
            share = face["probabilities"][face["label"]]
            print(f"{photo}: {face['name']} ({share:.0%}) at {face['box']}")
