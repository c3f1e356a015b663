// The page: its language, and what it reads with.
import { call } from "/page/api.js";
import { newOptions, setLabels as setCameraLabels, setUpCamera } from "/page/camera.js";
import { colourOf } from "/page/drawing.js";
import { setLabels as setPhotoLabels, setUpPhotos } from "/page/photos.js";
import { firstLanguage, language, nameOf, onLanguage, say, setLanguage, setNames } from "/page/text.js";

const element = (id) => document.getElementById(id);
const choice = element("language"), model = element("model"), detector = element("detector");
let served = { models: [], detectors: [] };
let labels = [];

const options = () => ({ model: model.value, detector: detector.value });

async function ask(path) {
  const write = (text) => (element("server-status").textContent = text);
  const response = await call(path, {}, write);
  write("");
  return response.json();
}

function fill(select, entries) {
  const before = select.value;
  select.replaceChildren(...entries.map(([value, text]) => new Option(text, value)));
  if (entries.some(([value]) => value === before)) select.value = before;
}

function showChoices() {
  fill(model, served.models.map((entry) => [entry.model, entry.model]));
  const own = served.models.find((entry) => entry.model === model.value)?.detector ?? "";
  fill(detector, [
    ["", say("detector own", { name: own })],
    ...served.detectors.map((name) => [name, name === "none" ? say("detector none") : name]),
  ]);
}

function showLegend() {
  element("legend").replaceChildren(...labels.map((label) => {
    const entry = document.createElement("li"), colour = document.createElement("i");
    colour.style.background = colourOf(label);
    entry.append(colour, nameOf(label));
    return entry;
  }));
}

async function loadNames() {
  const lang = language;
  const answer = await ask(`/v1/labels?${new URLSearchParams({ lang, model: model.value })}`);
  if (lang !== language) return; // it was changed meanwhile
  labels = answer.labels.map((entry) => entry.label);
  setCameraLabels(labels);
  setPhotoLabels(labels);
  setNames(answer.labels);
}

choice.addEventListener("change", () => {
  sessionStorage.setItem("language", choice.value);
  setLanguage(choice.value);
  loadNames();
});
model.addEventListener("change", () => {
  showChoices();
  loadNames();
  newOptions();
});
detector.addEventListener("change", newOptions);

setUpCamera(options);
setUpPhotos(options);
onLanguage(showChoices);
onLanguage(showLegend);
choice.value = firstLanguage();
setLanguage(choice.value);
served = await ask("/v1/models");
element("choices").hidden = false;
showChoices();
await loadNames();
