// Changes go to the JSON API from here: with the page's CSRF token, and errors told as the API words them.

export class Problem extends Error {
  constructor(problem, status) {
    super(problem.detail ?? "The engine did not answer as expected. Reload the page and try again.");
    this.field = problem.field;
    this.position = problem.position; // in a text, counted in letters
    this.status = status;
  }
}

export const csrfToken = () => document.querySelector("meta[name=csrf-token]")?.content ?? "";

/** Send JSON and return what is answered, null when nothing is. Throws a Problem. */
export async function send(method, address, body, { signal } = {}) {
  const headers = { accept: "application/json", "x-csrf-token": csrfToken() };
  if (body !== undefined) headers["content-type"] = "application/json";
  let answer;
  try {
    answer = await fetch(address, { method, headers, body: body === undefined ? undefined : JSON.stringify(body), signal });
  } catch (fault) {
    if (fault.name === "AbortError") throw fault;
    throw new Problem({ detail: "The engine does not answer. Check the connection and try again." }, 0);
  }
  if (answer.status === 401) throw new Problem({ detail: "Your session has ended. Reload the page to sign in again." }, 401);
  if (!answer.ok) throw new Problem(await answer.json().catch(() => ({})), answer.status);
  return answer.status === 204 ? null : answer.json();
}

/** Make one function of many calls: the last one counts, after a pause, and an older one still under way is given up. */
export function settle(work, pauseMs = 300) {
  let timer;
  let controller;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(async () => {
      controller?.abort();
      controller = new AbortController();
      try {
        await work(controller.signal, ...given);
      } catch (fault) {
        if (fault.name !== "AbortError") throw fault;
      }
    }, pauseMs);
  };
}
