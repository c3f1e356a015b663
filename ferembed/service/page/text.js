// The language of the page: phrases, names of expressions, numbers.
import { PHRASES } from "/page/phrases.js";

const listeners = [];
let names = {}; // of expressions, by label
export let language = "en";

export function say(key, fields = {}) {
  return PHRASES[language][key].replace(/\{(\w+)\}/g, (all, field) => fields[field] ?? all);
}

export const nameOf = (label) => names[label] ?? label;

export const percent = (share) =>
  new Intl.NumberFormat(language, { style: "percent", maximumFractionDigits: 0 }).format(share);

export const decimal = (number, digits) =>
  new Intl.NumberFormat(language, { maximumFractionDigits: digits }).format(number);

export function setNames(labels) {
  names = Object.fromEntries(labels.map((entry) => [entry.label, entry.name]));
  listeners.forEach((listener) => listener());
}

/** Call this when the words change: at the start, on a switch, when names come. */
export function onLanguage(listener) {
  listeners.push(listener);
}

export function setLanguage(chosen) {
  language = chosen;
  document.documentElement.lang = chosen;
  for (const element of document.querySelectorAll("[data-t]")) {
    element.textContent = say(element.dataset.t);
  }
  listeners.forEach((listener) => listener());
}

export function firstLanguage() {
  const kept = sessionStorage.getItem("language");
  if (kept in PHRASES) return kept;
  const wanted = navigator.languages.map((tag) => tag.slice(0, 2));
  return wanted.find((tag) => tag in PHRASES) ?? "en";
}
