// Photos: sent one by one, drawn, listed, and given back as files.
import { call } from "/page/api.js";
import { drawFaces } from "/page/drawing.js";
import { nameOf, onLanguage, percent, say } from "/page/text.js";

const WIDEST = 1280; // pixels of a photo on the page
const element = (id) => document.getElementById(id);
let chosen = () => ({});
let labels = [];
let photos = []; // { name, file, entry, phrase } in the order they came; the phrase of an error here
let isReading = false;
let status = ["", {}, false];

export function setUpPhotos(options) {
  chosen = options;
  const drop = element("drop"), files = element("files");
  files.addEventListener("change", () => {
    add(files.files);
    files.value = "";
  });
  for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", kind === "dragenter" || kind === "dragover");
    });
  }
  document.addEventListener("drop", (event) => add(event.dataTransfer.files));
  document.addEventListener("paste", (event) => {
    if (event.clipboardData.files.length) add(event.clipboardData.files);
    else if (event.target.tagName !== "INPUT") tell("photos nothing", {}, true);
  });
  element("csv").addEventListener("click", () => save("faces.csv", "text/csv", asCsv()));
  element("json").addEventListener("click", () => save("faces.json", "application/json", asJson()));
  element("clear").addEventListener("click", () => {
    photos = [];
    tell("");
    show();
  });
  onLanguage(() => {
    if (status[0]) tell(...status);
    show();
  });
}

export function setLabels(those) {
  labels = those;
}

function tell(phrase, fields = {}, isTrouble = false) {
  status = [phrase, fields, isTrouble];
  write(phrase && say(phrase, fields), isTrouble);
}

function write(text, isTrouble) {
  element("photo-status").textContent = text;
  element("photo-status").classList.toggle("trouble", isTrouble);
}

function add(files) {
  const pictures = [...files].filter((file) => !file.type || file.type.startsWith("image/"));
  if (!pictures.length) return tell("photos nothing", {}, true);
  photos.push(...pictures.map((file) => ({ name: file.name, file, entry: null })));
  read();
}

async function read() {
  if (isReading) return;
  isReading = true;
  let photo;
  while ((photo = photos.find(({ entry }) => !entry))) {
    const number = photos.indexOf(photo) + 1;
    Object.assign(element("progress"), { hidden: false, value: number - 1, max: photos.length });
    tell("photos reading", { number, count: photos.length });
    photo.entry = await ask(photo);
    show();
  }
  isReading = false;
  element("progress").hidden = true;
  if (!photos.length) return;
  const failed = photos.filter(({ entry }) => entry.error).length;
  const faces = photos.reduce((sum, { entry }) => sum + (entry.faces?.length ?? 0), 0);
  tell("photos done", { count: photos.length - failed, faces });
  if (failed) write(`${element("photo-status").textContent} ${say("photos failed", { failed })}`, true);
}

async function ask(photo) {
  const body = new FormData();
  try { // a folder, or a file that was moved, would fail as if the server were gone
    const content = await photo.file.arrayBuffer();
    body.append("picture", new Blob([content], { type: photo.file.type }), photo.name);
  } catch {
    photo.phrase = ["photo unreadable"];
    return { picture: photo.name, error: say(...photo.phrase) };
  }
  const path = `/v1/analyze?${new URLSearchParams(chosen())}`;
  const response = await call(path, { method: "POST", body }, write);
  const answer = await response.json().catch(() => ({})); // a proxy answers with HTML
  if (answer.pictures) return answer.pictures[0];
  if (answer.detail) return { picture: photo.name, error: answer.detail };
  photo.phrase = ["answer unknown", { status: response.status }];
  return { picture: photo.name, error: say(...photo.phrase) };
}

function show() {
  const read = photos.filter(({ entry }) => entry);
  element("results").hidden = !read.length;
  element("rows").replaceChildren(...read.flatMap(rowsOf));
  element("figures").replaceChildren(...read.filter(({ entry }) => entry.faces).map(figureOf));
}

function rowsOf({ entry, phrase = ["photo failed", { detail: entry.error }] }) {
  const row = (...cells) => {
    const made = document.createElement("tr");
    for (const [text, kind] of cells) {
      const cell = made.insertCell();
      cell.textContent = text;
      cell.className = kind ?? "";
    }
    return made;
  };
  if (entry.error) {
    const made = row([entry.picture], [""], [say(...phrase)], [""]);
    made.cells[2].colSpan = 2; // and not 3: a phone shows these two
    return [made];
  }
  if (!entry.faces.length) return [row([entry.picture], [""], [say("no face")], [""], [""])];
  return entry.faces.map((face, i) => row(
    [entry.picture], [i + 1, "number"], [nameOf(face.label)],
    [percent(face.probabilities[face.label]), "number"], [face.box.join(", "), "number"],
  ));
}

function figureOf(photo) {
  const figure = document.createElement("figure");
  const canvas = document.createElement("canvas");
  const caption = document.createElement("figcaption");
  const name = document.createElement("span"), button = document.createElement("button");
  name.textContent = photo.name;
  button.textContent = say("png");
  button.type = "button";
  button.addEventListener("click", async () => {
    const whole = document.createElement("canvas");
    await draw(whole, photo, Infinity);
    whole.toBlob((picture) => save(`${photo.name.replace(/\.\w+$/, "")}.png`, "image/png", picture));
  });
  const faces = photo.entry.faces.map(({ label }) => nameOf(label)).join(", ") || say("no face");
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", say("figure about", { photo: photo.name, faces }));
  caption.append(name, button);
  figure.append(canvas, caption);
  draw(canvas, photo, WIDEST);
  return figure;
}

async function draw(canvas, { file, entry }, widest) {
  const scale = Math.min(1, widest / Math.max(entry.width, entry.height));
  const size = { width: Math.round(entry.width * scale), height: Math.round(entry.height * scale) };
  Object.assign(canvas, size);
  const context = canvas.getContext("2d");
  try {
    context.drawImage(await createImageBitmap(file), 0, 0, size.width, size.height);
  } catch { // a format that the server reads and the browser does not, such as TIFF
    context.fillStyle = "#8a93a0";
    context.fillRect(0, 0, size.width, size.height);
  }
  drawFaces(context, entry.faces, scale, true);
}

function asJson() {
  return JSON.stringify(photos.map(({ entry }) => entry).filter(Boolean), null, 1);
}

/** The columns that `ferembed predict --output faces.csv` writes. */
function asCsv() {
  const text = (cell) => (/^[=+@\t-]/.test(cell) ? `'${cell}` : cell); // a spreadsheet runs no formula
  const head = ["photo", "face", "x1", "y1", "x2", "y2", "score", "found", "detector", "label", "name"];
  const empty = Array(head.length - 1 + labels.length).fill("");
  const lines = photos.filter(({ entry }) => entry).flatMap(({ entry }) => {
    if (!entry.faces?.length) {
      return [[text(entry.picture), ...empty, text(entry.error ?? "")]];
    }
    return entry.faces.map((face, i) => [
      text(entry.picture), i + 1, ...face.box, face.score.toFixed(4), face.found ? "yes" : "no",
      face.detector, face.label, nameOf(face.label), ...labels.map((label) => face.probabilities[label].toFixed(6)), "",
    ]);
  });
  const quoted = (cell) => (/[",\r\n]/.test(cell) ? `"${String(cell).replaceAll('"', '""')}"` : cell);
  const table = [[...head, ...labels, "error"], ...lines];
  return table.map((cells) => `${cells.map(quoted).join(",")}\r\n`).join("");
}

function save(name, type, content) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
