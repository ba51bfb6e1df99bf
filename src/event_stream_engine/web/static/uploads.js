// Uploads a file of people by drag and drop or by choice. From then on the list beneath shows how far its import is.

import { csrfToken } from "./requests.js";
import { clearFaults, showFault } from "./forms.js";

const form = document.getElementById("upload");

if (form) {
  const drop = document.getElementById("drop");
  const input = document.getElementById("file");
  const name = document.getElementById("file-name");
  const button = form.querySelector("button[type=submit]");
  const bar = document.getElementById("upload-bar");
  const text = document.getElementById("upload-text");
  const panel = document.getElementById("uploading");
  let file;

  const size = (bytes) => (bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`);

  const choose = (chosen) => {
    if (!chosen) return;
    clearFaults(form);
    file = chosen;
    name.textContent = `${file.name}, ${size(file.size)}`;
    button.disabled = false;
    button.focus();
  };

  const finish = () => {
    panel.hidden = true;
    button.removeAttribute("aria-busy");
    removeEventListener("beforeunload", warn);
  };
  const warn = (event) => event.preventDefault();

  function upload() {
    const query = new URLSearchParams({ file_name: file.name });
    for (const key of ["default_region", "consent_proof"]) {
      const value = form.elements[key].value.trim();
      if (value) query.set(key, value);
    }
    const request = new XMLHttpRequest(); // fetch tells nothing of an upload's progress
    request.open("POST", `${form.dataset.upload}?${query}`);
    request.setRequestHeader("x-csrf-token", csrfToken());
    request.setRequestHeader("content-type", "application/octet-stream");
    request.setRequestHeader("accept", "application/json");
    request.responseType = "json";
    const began = performance.now();
    request.upload.addEventListener("progress", ({ loaded, total }) => {
      bar.value = (loaded * 100) / total;
      const left = ((performance.now() - began) / loaded) * (total - loaded);
      text.textContent = loaded === total ? "Stored, waiting for the answer" : `${size(loaded)} of ${size(total)}, about ${Math.ceil(left / 1000)} s left`;
    });
    request.addEventListener("load", () => {
      finish();
      if (request.status === 201) {
        file = undefined;
        input.value = "";
        button.disabled = true;
        name.textContent = "Uploaded. Its progress is in the list below; you may leave this page.";
        document.dispatchEvent(new CustomEvent("live:refresh"));
      } else showFault(form, { message: request.response?.detail ?? "The upload failed. Try it again.", field: request.response?.field });
    });
    request.addEventListener("error", () => {
      finish();
      showFault(form, { message: "The connection broke during the upload. Try it again.", field: "file" });
    });
    bar.value = 0;
    text.textContent = "Uploading";
    panel.hidden = false;
    button.setAttribute("aria-busy", "true");
    addEventListener("beforeunload", warn); // until it is stored, leaving breaks it off
    request.send(file);
  }

  input.addEventListener("change", () => choose(input.files[0]));
  for (const kind of ["dragenter", "dragover"]) {
    drop.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.add("over");
    });
  }
  for (const kind of ["dragleave", "drop"]) drop.addEventListener(kind, () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    choose(event.dataTransfer.files[0]);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (file && button.getAttribute("aria-busy") !== "true") {
      clearFaults(form);
      upload();
    }
  });
}
