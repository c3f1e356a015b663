"""Follow the faces of a video through a server:    python stream.py ws://localhost:8000 clip.mp4"""

import asyncio
import json
import os
import sys

import cv2
from websockets.asyncio.client import connect

if len(sys.argv) != 3:
    sys.exit(__doc__)


async def main(url: str, video: str) -> None:
    frames = cv2.VideoCapture(video)
    async with connect(f"{url}/v1/stream") as stream:
        await stream.send(json.dumps({"key": os.environ.get("FEREMBED_KEY", ""), "lang": "en"}))
        ready = json.loads(await stream.recv())
        if "error" in ready:
            sys.exit(ready["error"])
        print("model:", ready["model"])
        while True:
            is_there, frame = frames.read()
            if not is_there:
                break
            await stream.send(cv2.imencode(".jpg", frame)[1].tobytes())
            answer = json.loads(await stream.recv())
            for face in answer.get("faces", []):
                print(f"frame {answer['frame']}: person {face['number']}, {face['name']}")


asyncio.run(main(*sys.argv[1:]))
