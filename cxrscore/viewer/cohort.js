"use strict";
// The page works without this script, by its form. With it the threshold can be dragged, and tables and marks follow.
(() => {
  const form = document.querySelector("#threshold");
  if (!form) return;
  const [slider, field, other] = ["#slider", "#at", "#other-at"].map((one) => document.querySelector(one));
  const told = document.querySelector("#told");
  const odds = (value) => Math.log(value / (1 - value));
  const probability = (value) => 1 / (1 + Math.exp(-value));
  slider.closest("label").hidden = false;
  slider.setAttribute("aria-valuetext", field.value);

  // The server counts. While it does, only the last of the moves is kept.
  let [wanted, busy] = [false, false];
  async function follow() {
    wanted = true;
    if (busy) return;
    busy = true;
    while (wanted) {
      wanted = false;
      await count();
    }
    busy = false;
  }

  async function count() {
    const query = new URLSearchParams(new FormData(form)).toString();
    let answer;
    try {
      answer = await fetch(`${form.dataset.decisions}?${query}`);
    } catch {
      told.textContent = "The server does not answer. Is `cxrscore view` still running?";
      return;
    }
    const text = await answer.text();
    told.textContent = answer.ok ? "" : text;
    if (!answer.ok) return;
    const made = new DOMParser().parseFromString(text, "text/html");
    for (const part of made.body.querySelectorAll(":scope > [id]")) document.getElementById(part.id).replaceWith(part);
    const marks = JSON.parse(document.querySelector("#decisions").dataset.marks);
    for (const [id, values] of Object.entries(marks)) {
      const mark = document.getElementById(id);
      for (const [name, value] of Object.entries(values)) mark.setAttribute(name, value);
    }
    history.replaceState(null, "", `?${query}`);
  }

  function place(value) {
    const [low, high] = [Number(slider.min), Number(slider.max)];
    slider.value = Math.min(Math.max(value <= 0 ? low : value >= 1 ? high : odds(value), low), high);
    slider.setAttribute("aria-valuetext", String(value));
  }

  slider.addEventListener("input", () => {
    field.value = Number(probability(Number(slider.value)).toPrecision(4));
    slider.setAttribute("aria-valuetext", field.value);
    follow();
  });
  for (const one of [field, other]) {
    if (!one) continue;
    one.addEventListener("input", () => {
      if (!one.checkValidity()) return;
      if (one === field) place(Number(field.value));
      follow();
    });
  }
  const stored = document.querySelector("#stored");
  if (stored) {
    stored.addEventListener("click", (event) => {
      event.preventDefault();
      field.value = stored.value;
      place(Number(stored.value));
      follow();
    });
  }
  // A page that the browser kept may have other values in its fields.
  window.addEventListener("pageshow", () => {
    const at = document.querySelector("#decisions").dataset.threshold;
    if (field.value === at) return;
    field.value = at;
    place(Number(at));
  });
})();
