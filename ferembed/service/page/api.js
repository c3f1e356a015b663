// How the page talks to its server: the key, and what to do while it is busy or gone.
import { say } from "/page/text.js";

const form = document.getElementById("key-form");
const field = document.getElementById("key");
const message = document.getElementById("key-message");
let waiting = []; // those who go on when there is a new key

export const key = () => sessionStorage.getItem("key") ?? "";
export const sleep = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));

/** Ask for a key; the promise is kept when there is one to try. */
export function askForKey() {
  form.hidden = false;
  message.dataset.t = key() ? "key wrong" : "key needed";
  message.textContent = say(message.dataset.t);
  field.focus();
  return new Promise((done) => waiting.push(done));
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("key", field.value.trim());
  field.value = "";
  form.hidden = true;
  waiting.splice(0).forEach((done) => done());
});

/** The server's answer. It waits for a key, for a busy server and for one that is gone. */
export async function call(path, options = {}, tell = () => {}) {
  for (;;) {
    const headers = { ...options.headers, ...(key() && { Authorization: `Bearer ${key()}` }) };
    let response;
    try {
      response = await fetch(path, { ...options, headers });
    } catch {
      tell(say("server gone"), true);
      await sleep(2);
      continue;
    }
    if (response.status === 401) {
      await askForKey();
    } else if (response.status === 429 || response.status === 503) {
      const seconds = Number(response.headers.get("Retry-After")) || 2;
      tell(say(response.status === 429 ? "server busy" : "server loading", { seconds }), true);
      await sleep(seconds);
    } else {
      return response;
    }
  }
}
