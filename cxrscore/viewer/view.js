"use strict";
// The list works without this script. The film needs it for window, zoom and heat maps.
(() => {
  const one = (selector) => document.querySelector(selector);
  const all = (selector) => [...document.querySelectorAll(selector)];

  // --- Keys

  const isTyping = (target) => target.closest("input:not([type=range]):not([type=checkbox]):not([type=radio]), select, textarea") !== null;
  const keys = new Map();
  // From the click on a link to the next page, keys belong to neither: the reader thinks of the next film, and this one
  // is still there. Escape stops a browser that waits for a page.
  let leaving = false;
  document.addEventListener(
    "click",
    (event) => {
      const link = event.target.closest("a[href]");
      const opensHere = event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey;
      if (link && opensHere && !link.getAttribute("href").startsWith("#")) leaving = true;
    },
    true,
  );
  window.addEventListener("pageshow", () => (leaving = false));
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") leaving = false;
    if (leaving || event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
    const action = keys.get(event.key);
    if (action) {
      event.preventDefault();
      action(event.key);
    }
  });
  const follow = (selector) => {
    const link = one(selector);
    if (link) link.click();
  };

  // --- The list

  function list() {
    const links = all("#films a.film");
    const step = (by) => {
      const at = links.indexOf(document.activeElement);
      const next = at < 0 ? (by > 0 ? 0 : links.length - 1) : at + by;
      if (next >= links.length) follow("nav.pages a[rel=next]");
      else if (next < 0) follow("nav.pages a[rel=prev]");
      else links[next].focus();
    };
    keys.set("j", () => step(1));
    keys.set("k", () => step(-1));
    keys.set("g", () => follow("#next-unmarked"));
    for (const picture of all("a.film img")) {
      const replace = () => {
        const words = document.createElement("span");
        words.className = "none";
        words.ariaHidden = "true";
        words.textContent = "no picture";
        picture.replaceWith(words);
      };
      if (picture.complete && !picture.naturalWidth) replace();
      else picture.addEventListener("error", replace);
    }
    const form = one("#filters");
    const submit = () => {
      // Only what differs from the usual stands in the address.
      for (const field of form.elements) {
        if (field.dataset.usual !== undefined && field.value === field.dataset.usual) field.disabled = true;
      }
      form.submit();
    };
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      submit();
    });
    for (const select of form.querySelectorAll("select")) select.addEventListener("change", submit);
    window.addEventListener("pageshow", () => {
      for (const field of form.elements) field.disabled = false;
    });
    const finding = form.elements.finding;
    for (let number = 0; number <= 9; number++) {
      keys.set(String(number), () => {
        if (!finding || !form.elements.sort || ![...finding.options].some((option) => option.value === String(number))) return;
        finding.value = String(number);
        form.elements.sort.value = "probability";
        submit();
      });
    }
    if (location.hash.startsWith("#film-")) {
      const row = document.getElementById(location.hash.slice(1));
      if (row) row.querySelector("a.film").focus();
    }
  }

  // --- The film

  class Film {
    constructor(viewer) {
      this.data = viewer.dataset;
      this.canvas = one("#canvas");
      this.context = this.canvas.getContext("2d");
      this.boxes = JSON.parse(this.data.boxes);
      this.layer = null;
      this.place = [0, 0, 0, 0];
      this.request = 0;
      this.layers = []; // functions that draw over the film
      this.tools = {}; // what a drag does in modes of other scripts: begin, move and end with a place on the film, cancel
    }

    tell(text) {
      one("#told").textContent = text;
    }

    async load() {
      this.tell("The film is being decoded.");
      let answer;
      try {
        answer = await fetch(`/film/${this.data.row}/pixels`);
      } catch {
        this.tell("The server does not answer. Is `cxrscore view` still running?");
        return false;
      }
      if (!answer.ok) {
        this.tell(await answer.text());
        if (this.data.thumbnail === "1") this.showThumbnail();
        else one(".stage").hidden = true;
        return false;
      }
      const header = (name) => Number(answer.headers.get(name));
      [this.width, this.height] = [header("X-Width"), header("X-Height")];
      const bytes = await answer.arrayBuffer();
      this.levels = header("X-Bits") === 16 ? 65536 : 256;
      this.pixels = this.levels === 65536 ? new Uint16Array(bytes) : new Uint8Array(bytes);
      this.picture = document.createElement("canvas");
      [this.picture.width, this.picture.height] = [this.width, this.height];
      this.image = this.picture.getContext("2d").createImageData(this.width, this.height);
      this.grey = new Uint32Array(this.image.data.buffer);
      this.stored = [Number(this.data.width) || this.width, Number(this.data.height) || this.height];
      this.tell(header("X-Same-Bytes") ? "" : "This is not the file that was scored: its SHA-256 differs from the one in the scores file.");
      return true;
    }

    showThumbnail() {
      const picture = document.createElement("img");
      picture.src = `/film/${this.data.row}/picture`;
      picture.alt = "Thumbnail of the film";
      this.canvas.after(picture);
    }

    reset() {
      this.level = 0.5;
      this.span = 1;
      this.inverted = false;
      this.zoom = 1;
      this.shift = [0, 0];
      this.paint();
    }

    // A new window: the picture is made at most once for each frame that the browser draws.
    paint() {
      this.stale = true;
      one("#level").value = Math.round(1000 * this.level);
      one("#width").value = Math.round(1000 * this.span);
      one("#window").textContent = `level ${Math.round(100 * this.level)} %, width ${Math.round(100 * this.span)} %`;
      one("[data-do=invert]").setAttribute("aria-pressed", String(this.inverted));
      this.draw();
    }

    // Window and level by a table of all stored values.
    makePicture() {
      const table = new Uint32Array(this.levels);
      const low = this.level - this.span / 2;
      for (let value = 0; value < this.levels; value++) {
        let grey = Math.min(Math.max((value / (this.levels - 1) - low) / this.span, 0), 1);
        if (this.inverted) grey = 1 - grey;
        const byte = Math.round(255 * grey);
        table[value] = (0xff000000 | (byte << 16) | (byte << 8) | byte) >>> 0;
      }
      for (let at = 0; at < this.pixels.length; at++) this.grey[at] = table[this.pixels[at]];
      this.picture.getContext("2d").putImageData(this.image, 0, 0);
      this.stale = false;
    }

    draw() {
      if (this.drawing) return;
      this.drawing = true;
      requestAnimationFrame(() => {
        this.drawing = false;
        this.drawNow();
      });
    }

    drawNow() {
      if (this.stale) this.makePicture();
      const ratio = window.devicePixelRatio || 1;
      const [wide, high] = [this.canvas.clientWidth * ratio, this.canvas.clientHeight * ratio].map(Math.round);
      if (this.canvas.width !== wide || this.canvas.height !== high) [this.canvas.width, this.canvas.height] = [wide, high];
      this.fit = Math.min(wide / this.stored[0], high / this.stored[1]);
      const scale = this.fit * this.zoom;
      const pen = this.context;
      pen.setTransform(1, 0, 0, 1, 0, 0);
      pen.fillStyle = "#000";
      pen.fillRect(0, 0, wide, high);
      // From here on in pixels of the stored film.
      pen.setTransform(scale, 0, 0, scale, wide / 2 + (this.shift[0] - this.stored[0] / 2) * scale, high / 2 + (this.shift[1] - this.stored[1] / 2) * scale);
      pen.imageSmoothingEnabled = scale < 4;
      pen.drawImage(this.picture, 0, 0, this.stored[0], this.stored[1]);
      if (this.layer) {
        pen.imageSmoothingEnabled = true;
        pen.save();
        pen.beginPath();
        pen.rect(0, 0, this.stored[0], this.stored[1]);
        pen.clip();
        pen.globalAlpha = Number(one("#opacity").value) / 100;
        pen.drawImage(this.layer, ...this.place);
        pen.restore();
      }
      this.drawBoxes(pen, scale, ratio);
      for (const layer of this.layers) layer(pen, scale, ratio);
    }

    // The pixel of the stored film at a place of the canvas in CSS pixels.
    placeOn(x, y) {
      const ratio = window.devicePixelRatio || 1;
      const scale = this.fit * this.zoom;
      const middle = [this.canvas.width / 2, this.canvas.height / 2];
      return [x, y].map((value, axis) => (value * ratio - middle[axis]) / scale - this.shift[axis] + this.stored[axis] / 2);
    }

    drawBoxes(pen, scale, ratio) {
      if (!one("#boxes") || !one("#boxes").checked) return;
      const chosen = Number(one("#map").value);
      pen.strokeStyle = "#00e5ff";
      pen.fillStyle = "#00e5ff";
      pen.lineWidth = (2 * ratio) / scale;
      pen.font = `${(13 * ratio) / scale}px sans-serif`;
      for (const box of this.boxes) {
        if (chosen && box.finding !== chosen) continue;
        pen.strokeRect(box.x, box.y, box.width, box.height);
        const name = one(`#map option[value="${box.finding}"]`).textContent.replace(/ \(not in the file\)$/, "");
        pen.fillText(name, box.x, box.y - (4 * ratio) / scale);
      }
    }

    async showMap(finding, chosen = finding) {
      const request = ++this.request;
      this.layer = null;
      one("#scale").hidden = true;
      remember("map", chosen);
      if (!finding) {
        one("#map-words").textContent = "";
        this.draw();
        return;
      }
      one("#map-words").textContent = "The map is being read.";
      let words = "The server does not answer.";
      try {
        const answer = await fetch(`/film/${this.data.row}/map/${finding}`);
        if (answer.ok) {
          const found = await answer.json();
          words = found.words;
          if (found.layer) {
            const layer = new Image();
            layer.src = found.layer;
            await layer.decode();
            if (request !== this.request) return;
            this.layer = layer;
            this.place = found.place[2] ? found.place : [0, 0, ...this.stored];
          }
        } else words = await answer.text();
      } catch {
        // The words say it.
      }
      if (request !== this.request) return;
      one("#map-words").textContent = words;
      one("#scale").hidden = !this.layer;
      this.draw();
    }

    window(level, span) {
      this.level = Math.min(Math.max(level, 0), 1);
      this.span = Math.min(Math.max(span, 0.001), 1);
      this.paint();
    }

    pan(x, y) {
      const scale = (this.fit * this.zoom) / (window.devicePixelRatio || 1);
      this.shift = [this.shift[0] + x / scale, this.shift[1] + y / scale];
      this.draw();
    }

    zoomBy(factor, at) {
      const before = this.zoom;
      this.zoom = Math.min(Math.max(this.zoom * factor, 0.5), 40);
      if (at) {
        // The place under the pointer stays where it is.
        const ratio = window.devicePixelRatio || 1;
        const centre = [this.canvas.clientWidth / 2, this.canvas.clientHeight / 2];
        for (const axis of [0, 1]) {
          const distance = ((at[axis] - centre[axis]) * ratio) / this.fit;
          this.shift[axis] += distance / this.zoom - distance / before;
        }
      }
      this.draw();
    }
  }

  // What is chosen on a film goes along to the next one, in the address.
  function remember(name, value) {
    const change = (address) => {
      const url = new URL(address, location.href);
      if (value) url.searchParams.set(name, value);
      else url.searchParams.delete(name);
      return url.pathname + url.search + url.hash;
    };
    history.replaceState(null, "", change(location.href));
    for (const link of all(".head nav a, #next-unmarked")) link.setAttribute("href", change(link.href));
  }

  function drags(film) {
    const canvas = film.canvas;
    const pointers = new Map();
    let mode = "window";
    let tool = null;
    for (const button of all("[data-drag]")) {
      button.addEventListener("click", () => {
        mode = button.dataset.drag;
        for (const each of all("[data-drag]")) each.setAttribute("aria-pressed", String(each === button));
      });
    }
    const apart = () => {
      const [a, b] = [...pointers.values()];
      return Math.hypot(a[0] - b[0], a[1] - b[1]);
    };
    const middle = () => {
      const [a, b] = [...pointers.values()];
      const edge = canvas.getBoundingClientRect();
      return [(a[0] + b[0]) / 2 - edge.left, (a[1] + b[1]) / 2 - edge.top];
    };
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button === 2) return; // the menu of the browser, after which it may tell of no release
      canvas.setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, [event.clientX, event.clientY]);
      event.preventDefault();
      if (tool && pointers.size === 2) tool.cancel();
      tool = pointers.size === 1 && !event.shiftKey && event.button === 0 ? film.tools[mode] : null;
      if (tool) tool.begin(film.placeOn(event.offsetX, event.offsetY));
    });
    canvas.addEventListener("pointermove", (event) => {
      const last = pointers.get(event.pointerId);
      if (!last) return;
      const [x, y] = [event.clientX - last[0], event.clientY - last[1]];
      const before = pointers.size === 2 ? apart() : 0;
      pointers.set(event.pointerId, [event.clientX, event.clientY]);
      if (pointers.size === 2) {
        film.pan(x / 2, y / 2);
        if (before) film.zoomBy(apart() / before, middle());
      } else if (tool) tool.move(film.placeOn(event.offsetX, event.offsetY));
      else if (mode === "pan" || event.shiftKey || event.buttons === 4) film.pan(x, y);
      else film.window(film.level + y / canvas.clientHeight, film.span + x / canvas.clientWidth);
    });
    for (const end of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(end, (event) => {
        pointers.delete(event.pointerId);
        if (tool && end === "pointerup") tool.end(film.placeOn(event.offsetX, event.offsetY));
        else if (tool) tool.cancel();
        tool = null;
      });
    }
    canvas.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        film.zoomBy(Math.exp(-event.deltaY / 500), [event.offsetX, event.offsetY]);
      },
      { passive: false },
    );
  }

  async function film() {
    keys.set("j", () => follow("a[rel=next]"));
    keys.set("k", () => follow("a[rel=prev]"));
    keys.set("u", () => follow("#back"));
    // Before the film is there, so that the next film has them even if this one is passed quickly.
    const query = new URLSearchParams(location.search);
    for (const name of ["map", "opacity"]) if (/^\d{1,6}$/.test(query.get(name) || "")) remember(name, query.get(name));
    const viewer = one("#viewer");
    if (viewer.dataset.named !== "1") return;
    const shown = new Film(viewer);
    if (!(await shown.load())) return;
    shown.canvas.hidden = false;
    one("#tools").hidden = false;
    shown.reset();
    drags(shown);
    new ResizeObserver(() => shown.draw()).observe(shown.canvas);
    const actions = {
      in: () => shown.zoomBy(1.25),
      out: () => shown.zoomBy(0.8),
      invert: () => {
        shown.inverted = !shown.inverted;
        shown.paint();
      },
      reset: () => shown.reset(),
    };
    for (const button of all("[data-do]")) button.addEventListener("click", actions[button.dataset.do]);
    for (const [key, action] of [["i", "invert"], ["r", "reset"], ["+", "in"], ["-", "out"]]) keys.set(key, actions[action]);
    one("#level").addEventListener("input", (event) => shown.window(event.target.value / 1000, shown.span));
    one("#width").addEventListener("input", (event) => shown.window(shown.level, event.target.value / 1000));
    document.dispatchEvent(new CustomEvent("film", { detail: shown }));
    // The server decodes the next film meanwhile.
    if (viewer.dataset.after) fetch(`/film/${viewer.dataset.after}/pixels`, { method: "HEAD" }).catch(() => {});
    if (one("#map")) maps(shown);
  }

  // Heat maps; a blinded reader has none.
  function maps(shown) {
    one("#maps").hidden = false;
    const map = one("#map");
    const choose = (number) => {
      const option = [...map.options].find((each) => each.value === String(number) && !each.disabled);
      if (!option) {
        map.value = "0";
        shown.showMap(0, number); // the next film may have one
        one("#map-words").textContent = `The file has no map of finding ${number} on this film.`;
        return;
      }
      map.value = String(number);
      shown.showMap(Number(number));
    };
    map.addEventListener("change", () => shown.showMap(Number(map.value)));
    for (let number = 0; number <= 9; number++) keys.set(String(number), () => choose(number));
    const opacity = one("#opacity");
    opacity.addEventListener("input", () => {
      remember("opacity", opacity.value);
      shown.draw();
    });
    if (one("#boxes")) one("#boxes").addEventListener("change", () => shown.draw());
    const query = new URLSearchParams(location.search);
    if (/^\d{1,3}$/.test(query.get("opacity") || "")) opacity.value = query.get("opacity");
    if (/^\d{1,6}$/.test(query.get("map") || "")) choose(query.get("map"));
  }

  window.cxrscoreView = { keys, follow, remember, isLeaving: () => leaving, stay: () => (leaving = false) };
  if (document.body.classList.contains("list")) list();
  if (document.body.classList.contains("one")) film();
})();
