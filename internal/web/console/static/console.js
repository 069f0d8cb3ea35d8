// What pages do beyond links and forms. Each of them works without it.
"use strict";
(() => {
  // Times in the reader's own form and zone.
  const forms = {
    date: new Intl.DateTimeFormat(undefined, { dateStyle: "medium" }),
    full: new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" }),
    exact: new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" }),
  };
  const times = (root) => {
    for (const t of root.querySelectorAll("time[datetime]:not([data-local])")) {
      const d = new Date(t.dateTime);
      if (isNaN(d)) continue;
      t.textContent = (forms[t.dataset.form] || forms.full).format(d);
      t.title = forms.exact.format(d);
      t.dataset.local = "";
    }
  };

  // A menu closes when one goes elsewhere, and by Escape, which leaves the
  // focus where the menu opens.
  const menus = () => document.querySelectorAll("details.menu[open]");
  document.addEventListener("click", (e) => {
    for (const m of menus()) if (!m.contains(e.target)) m.open = false;
  });
  document.addEventListener("keydown", (e) => {
    if (e.key !== "Escape") return;
    for (const m of menus()) {
      m.open = false;
      m.querySelector("summary").focus();
    }
  });

  // Copying what is shown once.
  document.addEventListener("click", async (e) => {
    const b = e.target.closest("button[data-copy]");
    if (!b) return;
    const from = document.getElementById(b.dataset.copy);
    try {
      await navigator.clipboard.writeText(from.textContent.trim());
      b.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(from);
    }
  });

  // A form that cannot be undone asks first, where the page says so.
  document.addEventListener("submit", (e) => {
    const words = e.target.dataset.confirm;
    if (words && !confirm(words)) e.preventDefault();
  });

  // The code of a set-up link stands behind #, which browsers keep to
  // themselves. It leaves the address at once.
  const setup = document.querySelector("form[data-code-from-fragment]");
  if (setup && location.hash.length > 1) {
    setup.elements.code.value = decodeURIComponent(location.hash.slice(1));
    history.replaceState(null, "", location.pathname);
  }

  // On a narrow screen the menu is one line: where one is should be in sight.
  const here = document.querySelector(".side a[aria-current]");
  const side = here && here.closest(".side");
  if (side && side.scrollWidth > side.clientWidth) side.scrollLeft = here.offsetLeft - (side.clientWidth - here.offsetWidth) / 2;

  // What htmx could not load is said, not swallowed.
  const say = (words) => {
    const said = document.getElementById("said");
    const p = document.createElement("p");
    p.className = "said";
    p.textContent = words;
    said.replaceChildren(p);
  };
  document.addEventListener("htmx:responseError", () => say("This did not work. Load the page again and try once more."));
  document.addEventListener("htmx:sendError", () => say("The server cannot be reached right now."));
  document.addEventListener("htmx:load", (e) => times(e.detail.elt.parentNode || document));
  window.strongroom = { times, say };

  document.documentElement.dataset.script = "";
  for (const el of document.querySelectorAll("[data-needs-script]")) el.hidden = false;
  times(document);
})();
