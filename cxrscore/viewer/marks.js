"use strict";
// Marks of a film at once, by keys and by drag. Without this script the form of the marks is sent as a whole.
(() => {
  const one = (selector) => document.querySelector(selector);
  const all = (selector) => [...document.querySelectorAll(selector)];
  const panel = () => one("#marks");
  const canMark = () => panel().dataset.can === "1";
  const words = { y: "yes", n: "no", m: "unsure", x: "n.a.", d: "" };
  const least = 4; // CSS pixels of a side of a box: less is a click

  // --- Saving: one change after the other; what the server has not confirmed is shown as pending

  const changes = [];
  let sending = null;
  let failed = false;

  function send(fields) {
    if (!canMark()) return;
    changes.push(fields);
    one("#marks-fault").hidden = true;
    failed = false;
    showPending();
    sending = sending || run().finally(() => (sending = null));
  }

  async function run() {
    while (changes.length) {
      const body = new URLSearchParams({ ...changes[0], state: one("#marks-form [name=state]").value });
      let answer, text;
      try {
        answer = await fetch(`/film/${panel().dataset.row}/mark`, { method: "POST", headers: { "X-Fragment": "1" }, body, keepalive: true });
        text = await answer.text();
      } catch {
        return fail("Not saved: the server does not answer. Is `cxrscore view` still running?");
      }
      if (!answer.ok) return fail(text.trim());
      changes.shift();
      replace(text);
    }
  }

  function fail(text) {
    const more = changes.length - 1;
    changes.length = 0;
    failed = true;
    const comment = one("#comment").value;
    one("#marks-form").reset(); // to what the server has saved
    one("#comment").value = comment;
    one("#marks-told").textContent = "";
    one("#marks-fault").textContent = more ? `${text} The ${more} changes after it are not saved either.` : text;
    one("#marks-fault").hidden = false;
    showPending();
    drawAgain();
  }

  // The panel that the server made after a change.
  function replace(text) {
    const fresh = new DOMParser().parseFromString(text, "text/html").querySelector("#marks");
    if (!fresh) return;
    const comment = one("#comment");
    const unsaved = comment.value !== comment.defaultValue ? comment.value : null;
    const focus = document.activeElement && panel().contains(document.activeElement) ? document.activeElement.id : "";
    const open = all("#marks details").map((each) => each.open);
    panel().replaceWith(fresh);
    const saved = one("#comment");
    if (unsaved !== null && unsaved.trim() !== saved.value.trim()) saved.value = unsaved;
    all("#marks details").forEach((each, place) => (each.open = Boolean(open[place])));
    if (focus && document.getElementById(focus)) document.getElementById(focus).focus({ preventScroll: true });
    prepare();
  }

  function showPending() {
    for (const group of all(".finding")) group.classList.remove("pending");
    for (const change of changes) {
      if (change.do !== "answer") continue;
      const group = one(`.finding[data-finding="${change.finding}"]`);
      group.classList.add("pending");
      for (const radio of group.querySelectorAll("input[type=radio]")) radio.checked = radio.value === change.answer;
    }
    if (changes.length) one("#marks-told").textContent = "Saving …";
  }

  function saveComment() {
    const comment = one("#comment");
    if (comment.value === comment.defaultValue) return;
    const same = (change) => change.comment === comment.value;
    if (!changes.some(same)) send({ do: "save", comment: comment.value, "was-comment": comment.defaultValue });
  }

  // --- The chosen finding

  let chosen = Number(new URLSearchParams(location.search).get("mark")) || 1;

  function choose(number) {
    if (!one(`.finding[data-finding="${number}"]`)) return;
    chosen = number;
    for (const group of all(".finding")) {
      const is = Number(group.dataset.finding) === chosen;
      group.classList.toggle("chosen", is);
      if (is) group.setAttribute("aria-current", "true");
      else group.removeAttribute("aria-current");
    }
    window.cxrscoreView.remember("mark", chosen > 1 ? chosen : 0);
    carry();
    drawAgain();
  }

  function step(by) {
    choose(chosen + by);
    const group = one(".finding.chosen");
    if (group) group.scrollIntoView({ block: "nearest" });
  }

  // What is chosen on this film goes along to the next unmarked one.
  function carry() {
    const link = one("#next-unmarked");
    if (!link) return;
    const url = new URL(link.href);
    const here = new URLSearchParams(location.search);
    for (const name of ["map", "opacity", "mark"]) {
      if (here.has(name)) url.searchParams.set(name, here.get(name));
      else url.searchParams.delete(name);
    }
    link.setAttribute("href", url.pathname + url.search);
  }

  function prepare() {
    const help = one("#marks-help");
    if (help) help.hidden = false;
    showPending();
    choose(chosen);
  }

  // --- Keys

  const isTyping = (target) => target.closest("input:not([type=range]):not([type=checkbox]):not([type=radio]), select, textarea") !== null;
  const press = (selector) => {
    const button = one(selector);
    if (button) button.click();
  };
  const actions = {
    ArrowDown: () => step(1),
    ArrowUp: () => step(-1),
    z: () => send({ do: "undo" }),
    c: () => one("#comment").focus(),
    b: () => press(one("[data-drag=box][aria-pressed=true]") ? "[data-drag=window]" : "[data-drag=box]"),
    v: () => press("#reveal"),
    "?": () => press("#marks-help"),
  };
  for (const [key, answer] of Object.entries(words)) {
    actions[key] = () => send({ do: "answer", finding: String(chosen), answer });
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || one("dialog[open]") || window.cxrscoreView.isLeaving()) return;
    if (event.target.id === "comment" && event.key === "Escape") event.target.blur();
    if (isTyping(event.target)) return;
    if (/^[1-9]$/.test(event.key)) choose(Number(event.key));
    if (!canMark() || !Object.hasOwn(actions, event.key)) return;
    if (event.key.startsWith("Arrow") && !event.target.closest("body, .finding")) return;
    event.preventDefault();
    actions[event.key]();
  });

  // --- Forms and links

  document.addEventListener("change", (event) => {
    const group = event.target.closest(".finding");
    if (group && event.target.type === "radio") {
      choose(Number(group.dataset.finding));
      send({ do: "answer", finding: group.dataset.finding, answer: event.target.value });
    } else if (event.target.id === "comment") saveComment();
  });
  document.addEventListener("submit", (event) => {
    if (event.target.id !== "marks-form") return;
    const button = event.submitter;
    if (button && button.value === "reveal") {
      if (!sending) return;
      event.preventDefault();
      sending.then(() => failed || event.target.isConnected || press("#reveal"));
      return;
    }
    event.preventDefault();
    if (button && button.name === "remove") send({ remove: button.value });
    else if (button && button.value === "undo") send({ do: "undo" });
    else saveComment();
  });
  // A link is followed when all is saved, and not if something could not be saved.
  document.addEventListener(
    "click",
    (event) => {
      if (event.target.id === "marks-help") one("#keys").showModal();
      if (event.target.id === "keys-close") one("#keys").close();
      const link = event.target.closest("a[href]");
      if (!link || !one("#comment")) return;
      if (one("#comment").value !== one("#comment").defaultValue && !failed) saveComment();
      if (!sending) return;
      event.preventDefault();
      event.stopPropagation();
      const id = link.id;
      sending.then(() => {
        if (failed) window.cxrscoreView.stay();
        else location.href = (id && document.getElementById(id) ? document.getElementById(id) : link).href;
      });
    },
    true,
  );
  window.addEventListener("beforeunload", (event) => {
    if (sending) event.preventDefault();
  });

  // --- Boxes

  let film = null;
  let drag = null;
  const drawAgain = () => film && film.draw();

  function sides() {
    const [a, b] = [drag.from, drag.to];
    const [left, right] = [a[0], b[0]].sort((p, q) => p - q).map(Math.round);
    const [top, bottom] = [a[1], b[1]].sort((p, q) => p - q).map(Math.round);
    return { x: left, y: top, width: right - left, height: bottom - top };
  }

  const within = (place) => place.map((value, axis) => Math.min(Math.max(value, 0), film.stored[axis]));

  document.addEventListener("film", (event) => {
    film = event.detail;
    film.layers.push((pen, scale, ratio) => {
      pen.font = `${(13 * ratio) / scale}px sans-serif`;
      for (const box of JSON.parse(panel().dataset.boxes)) {
        pen.strokeStyle = pen.fillStyle = box.own ? "#ffe14d" : "#ff9bd2";
        pen.lineWidth = ((box.finding === chosen ? 3 : 1.5) * ratio) / scale;
        pen.strokeRect(box.x, box.y, box.width, box.height);
        pen.fillText(box.own ? box.name : `${box.name} (${box.reader})`, box.x, box.y - (4 * ratio) / scale);
      }
      if (drag) {
        const box = sides();
        pen.strokeStyle = "#ffe14d";
        pen.lineWidth = (2 * ratio) / scale;
        pen.strokeRect(box.x, box.y, box.width, box.height);
      }
    });
    film.tools.box = {
      begin: (place) => (drag = { from: within(place), to: within(place) }),
      move: (place) => {
        if (drag) drag.to = within(place);
        film.draw();
      },
      end: (place) => {
        if (!drag) return;
        drag.to = within(place);
        const box = sides();
        drag = null;
        const scale = (film.fit * film.zoom) / (window.devicePixelRatio || 1);
        if (Math.min(box.width, box.height) > 0 && Math.min(box.width, box.height) * scale >= least) {
          send({ do: "box", finding: String(chosen), ...box });
        }
        film.draw();
      },
      cancel: () => {
        drag = null;
        film.draw();
      },
    };
  });

  window.cxrscoreView.keys.set("g", () => press("#next-unmarked"));
  if (canMark()) prepare();
})();
