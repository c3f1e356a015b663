// Requests to the server: the key, and retries while the server is busy or does not answer.
import { say } from "/page/text.js";

const form = document.getElementById("key-form");
const field = document.getElementById("key");
const message = document.getElementById("key-message");
let waiting = []; // requests that go on when there is a new key

export const key = () => sessionStorage.getItem("key") ?? "";
export const sleep = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));

/** Ask for a key. The promise resolves when one was typed. */
export function askForKey() {
  form.hidden = false;
  message.dataset.t = key() ? "key wrong" : "key needed";
  message.textContent = say(message.dataset.t);
  field.focus();
  return new Promise((done) => waiting.push(done));
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const typed = field.value.trim();
  if (!/^[!-~]*$/.test(typed)) { // a header cannot carry it
    message.dataset.t = "key wrong";
    message.textContent = say("key wrong");
    return;
  }
  sessionStorage.setItem("key", typed);
  field.value = "";
  form.hidden = true;
  waiting.splice(0).forEach((done) => done());
});

/** The server's response. Without a key, or while the server cannot answer, the request is repeated. */
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
    } else if (response.status === 502 || response.status === 504) { // from a proxy
      tell(say("server gone"), true);
      await sleep(2);
    } else if (response.status === 429 || response.status === 503) {
      const seconds = Number(response.headers.get("Retry-After")) || 2;
      tell(say(response.status === 429 ? "server busy" : "server loading", { seconds }), true);
      await sleep(seconds);
    } else {
      return response;
    }
  }
}
