// Brings a page up to date by asking for it again; without this the page is the same, and reloading does the same.
"use strict";

const main = document.querySelector("main");
const seconds = Number(main.dataset.live);

async function refresh() {
  // Nobody looks, or somebody is at work with a form or a selection.
  const busy = document.hidden || main.contains(document.activeElement) || !getSelection().isCollapsed;
  if (!busy) {
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" }, redirect: "error" });
      const found = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main");
      if (answer.ok && found) {
        main.replaceChildren(...found.childNodes);
        main.classList.remove("stale");
      } else {
        main.classList.add("stale");
      }
    } catch {
      main.classList.add("stale");
    }
  }
  setTimeout(refresh, seconds * 1000);
}

if (seconds > 0) setTimeout(refresh, seconds * 1000);
