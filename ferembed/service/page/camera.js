// The camera: frames to the server, what it answers over the live picture.
import { askForKey, key } from "/page/api.js";
import { drawBars, drawFaces, drawTimeline, largest } from "/page/drawing.js";
import { decimal, language, nameOf, onLanguage, percent, say } from "/page/text.js";

const AT_ONCE = 3; // frames on their way
const EVERY = 2; // the server searches each second frame, and moves boxes on in between
const MINUTE = 60;
const element = (id) => document.getElementById(id);
const video = element("video"), overlay = element("overlay"), timeline = element("timeline");
const shot = document.createElement("canvas");

let labels = [];
let chosen = () => ({}); // the model and the detector
let media = null; // the camera, while it is on
let socket = null;
let isReady = false; // the server has taken the options
let onTheWay = 0, lastFrame = -1, attempts = 0, nextAttempt = 0;
let faces = null; // of the newest answer
let points = []; // of the timeline
let since = 0, answers = []; // when they began to come; times and waits, of the last two seconds
let spokenAt = 0, spoken = "";
let state = ["camera off", {}, false]; // the phrase of the status

export function setUpCamera(options) {
  chosen = options;
  element("start").addEventListener("click", start);
  element("stop").addEventListener("click", () => stop("camera off"));
  onLanguage(() => {
    tell(...state);
    show();
    if (isReady) sendOptions();
  });
  setInterval(() => media && drawMinute(), 100);
}

export function setLabels(those) {
  labels = those;
  show();
}

/** The model or the detector was changed. */
export function newOptions() {
  if (isReady) sendOptions();
}

function tell(phrase, fields = {}, isTrouble = false) {
  state = [phrase, fields, isTrouble];
  const text = phrase === "camera running" ? say(phrase, { faces: count() }) : say(phrase, fields);
  const status = element("camera-status");
  if (status.textContent !== text) status.textContent = text;
  status.classList.toggle("trouble", isTrouble);
}

function count() {
  const number = faces?.length ?? 0;
  return say(number ? (number === 1 ? "face one" : "face many") : "face none", { count: number });
}

async function start() {
  element("start").disabled = true;
  if (!navigator.mediaDevices?.getUserMedia) return stop("camera insecure", true);
  tell("camera asking");
  try {
    media = await navigator.mediaDevices.getUserMedia({
      video: { width: { ideal: 640 }, height: { ideal: 480 }, facingMode: "user" },
    });
  } catch (error) {
    const none = ["NotFoundError", "OverconstrainedError"].includes(error.name);
    const refused = ["NotAllowedError", "SecurityError"].includes(error.name);
    return stop(none ? "camera none" : refused ? "camera refused" : "camera taken", true);
  }
  media.getVideoTracks()[0].addEventListener("ended", () => media && stop("camera ended", true));
  element("stop").disabled = false;
  video.srcObject = media;
  await video.play();
  element("stage").style.aspectRatio = `${video.videoWidth} / ${video.videoHeight}`;
  connect();
  nextFrame();
}

function stop(phrase, isTrouble = false) {
  media?.getTracks().forEach((track) => track.stop());
  media = null;
  video.srcObject = null;
  socket?.close();
  socket = null;
  clearTimeout(nextAttempt);
  attempts = 0;
  isReady = false;
  faces = null;
  answers = [];
  element("start").disabled = false;
  element("stop").disabled = true;
  element("rate").textContent = "";
  tell(phrase, {}, isTrouble);
  show();
}

function connect() {
  if (!media) return;
  socket?.close();
  if (!attempts) tell("camera connecting");
  const opened = new WebSocket(`${location.protocol.replace("http", "ws")}//${location.host}/v1/stream`);
  let again = Math.min(10, 2 ** attempts++ / 2); // seconds until the next attempt
  let phrase = "server gone";
  socket = opened;
  opened.addEventListener("open", sendOptions);
  opened.addEventListener("message", async (event) => {
    const answer = JSON.parse(event.data);
    if (answer.ready) {
      isReady = true;
      attempts = onTheWay = 0;
      since = performance.now() / 1000;
      tell("camera running");
    } else if (answer.code === 4401) {
      again = null;
      await askForKey();
      connect();
    } else if (answer.code === 4429) {
      [phrase, again] = ["server busy", 3];
    } else if (answer.code) {
      again = null;
      stop("camera off");
      tell("error", { detail: answer.error }, true);
    } else if (socket === opened) {
      take(answer);
    }
  });
  opened.addEventListener("close", () => {
    if (socket !== opened || !media) return;
    isReady = false;
    faces = null;
    answers = [];
    element("rate").textContent = "";
    show();
    if (again === null) return;
    tell(phrase, { seconds: again }, true);
    nextAttempt = setTimeout(connect, 1000 * again);
  });
}

function sendOptions() {
  if (socket?.readyState !== WebSocket.OPEN) return;
  socket.send(JSON.stringify({ key: key(), lang: language, every: EVERY, ...chosen() }));
}

function nextFrame() {
  if (!media) return;
  requestAnimationFrame(nextFrame);
  if (!isReady || onTheWay >= AT_ONCE || video.currentTime === lastFrame || !video.videoWidth) return;
  lastFrame = video.currentTime;
  onTheWay++;
  Object.assign(shot, { width: video.videoWidth, height: video.videoHeight });
  shot.getContext("2d").drawImage(video, 0, 0);
  const here = socket;
  shot.toBlob((frame) => {
    if (here === socket && here?.readyState === WebSocket.OPEN) here.send(frame);
    else onTheWay = Math.max(0, onTheWay - 1);
  }, "image/jpeg", 0.85);
}

function take(answer) {
  onTheWay = Math.max(0, onTheWay - 1);
  if (answer.error) return tell("error", { detail: answer.error }, true);
  const now = performance.now() / 1000;
  faces = answer.faces;
  Object.assign(overlay, { width: answer.width, height: answer.height });
  const front = largest(faces);
  if (front) points.push({ time: now, probabilities: front.probabilities });
  answers = [...answers.filter(({ time }) => now - time < 2), { time: now, wait: answer.milliseconds }];
  const rate = answers.length / Math.max(0.5, Math.min(2, now - since));
  const wait = answers.reduce((sum, one) => sum + one.wait, 0) / answers.length;
  element("rate").textContent = say("rate", { rate: decimal(rate, rate < 9.5 ? 1 : 0), wait: decimal(wait, 0) });
  tell("camera running");
  show();
}

function show() {
  const front = faces && largest(faces);
  const context = overlay.getContext("2d");
  context.clearRect(0, 0, overlay.width, overlay.height);
  drawFaces(context, faces ?? [], 1);
  drawBars(element("bars"), labels, front?.probabilities ?? null);
  overlay.setAttribute("aria-label", faces ? say("overlay about", { faces: count() }) : say("overlay off"));
  speak(front);
}

/** What a screen reader says: not each frame, but what changed, every few seconds. */
function speak(front) {
  const now = performance.now();
  if (front?.label === spoken || now - spokenAt < 3000) return;
  [spoken, spokenAt] = [front?.label ?? "", now];
  element("spoken").textContent = front
    ? say("spoken", { name: nameOf(front.label), percent: percent(front.probabilities[front.label]) })
    : say("nobody");
}

function drawMinute() {
  const now = performance.now() / 1000;
  points = points.filter(({ time }) => now - time < MINUTE + 1);
  drawTimeline(timeline, labels, points, now, MINUTE);
  const names = labels.filter((label) => points.some(({ probabilities }) => probabilities[label] > 0.5));
  const about = names.map(nameOf).join(", ") || say("nobody");
  timeline.setAttribute("aria-label", say("timeline about", { names: about }));
}
