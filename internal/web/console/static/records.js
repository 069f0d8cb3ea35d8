// What pages of records do beyond plain forms: files by drag and drop with
// their progress, lists that are filtered while one types. Without it all of
// this still works, by the forms alone.
(() => {
  "use strict";

  for (const form of document.querySelectorAll("form[data-upload]")) setUp(form);
  for (const box of document.querySelectorAll("[data-filter]")) {
    const options = [...box.parentElement.querySelectorAll(".pick .choice")];
    box.addEventListener("input", () => {
      const wanted = box.value.trim().toLowerCase();
      for (const o of options) o.hidden = wanted !== "" && !o.textContent.toLowerCase().includes(wanted) && !o.querySelector("input").checked;
    });
    box.addEventListener("keydown", (e) => { if (e.key === "Enter") e.preventDefault(); });
  }
  // A picture without a preview leaves no broken frame behind.
  for (const img of document.querySelectorAll("[data-picture] img, .thumb, .tiny")) {
    const gone = () => { (img.closest("[data-picture], .strip li") || img).hidden = true; };
    if (img.complete && img.naturalWidth === 0 && img.loading !== "lazy") gone();
    img.addEventListener("error", gone);
  }

  function setUp(form) {
    const input = form.querySelector('input[type="file"]');
    const drop = form.querySelector("[data-drop]");
    const list = form.querySelector(".uploads");
    form.querySelector("[data-without-script]").hidden = true;
    let waiting = [], active = 0, stored = 0, refused = 0;

    input.addEventListener("change", () => { add(input.files); input.value = ""; });
    form.addEventListener("submit", (e) => { e.preventDefault(); });
    for (const kind of ["dragenter", "dragover"]) drop.addEventListener(kind, (e) => { e.preventDefault(); drop.classList.add("over"); });
    for (const kind of ["dragleave", "drop"]) drop.addEventListener(kind, () => drop.classList.remove("over"));
    drop.addEventListener("drop", (e) => { e.preventDefault(); add(e.dataTransfer.files); });
    window.addEventListener("beforeunload", (e) => { if (active) e.preventDefault(); });

    function add(files) {
      for (const file of input.multiple ? files : [...files].slice(0, 1)) {
        const row = document.createElement("li");
        const name = document.createElement("span");
        const state = document.createElement("span");
        const bar = document.createElement("progress");
        name.textContent = file.name;
        state.textContent = "waiting";
        bar.max = 1;
        bar.value = 0;
        bar.setAttribute("aria-label", file.name);
        row.append(name, state, bar);
        list.append(row);
        waiting.push({ file, row, state, bar });
      }
      next();
    }

    function next() {
      while (active < 2 && waiting.length) send(waiting.shift());
      // The page shows what is stored now, once all of it went well.
      if (!active && !waiting.length && stored && !refused) location.reload();
    }

    function send({ file, row, state, bar }) {
      active++;
      const body = new FormData();
      for (const f of form.querySelectorAll("input[type=hidden], select")) body.append(f.name, f.value);
      body.append("file", file, file.name);
      const x = new XMLHttpRequest();
      x.open("POST", form.action);
      x.setRequestHeader("Strongroom-Upload", "1");
      x.upload.addEventListener("progress", (e) => {
        if (!e.lengthComputable) return;
        bar.value = e.loaded / e.total;
        state.textContent = e.loaded < e.total ? Math.floor(100 * bar.value) + " %" : "sealing";
      });
      x.addEventListener("loadend", () => {
        active--;
        let answer = {};
        try { answer = JSON.parse(x.responseText); } catch { /* no answer, or a page: the status says enough */ }
        if (x.status === 201) {
          stored++;
          bar.value = 1;
          state.textContent = "stored";
        } else {
          refused++;
          bar.remove();
          row.className = "wrong";
          state.textContent = answer.error || (x.status === 0 ? "The connection broke off." : "This did not work.");
        }
        next();
      });
      x.send(body);
    }
  }
})();
