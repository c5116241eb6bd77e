// Brings a page up to date by asking for it again; without this the page is the same, and reloading does the same.
"use strict";

const main = document.querySelector("main");
const said = document.querySelector("[role=status]");
const seconds = Number(main.dataset.live);

// Changes what differs and leaves the rest where it is: somebody may be reading there, by eye or by ear.
function follow(before, after) {
  if (before.isEqualNode(after)) return;
  if (before.nodeName !== after.nodeName) before.replaceWith(after);
  else if (before.nodeType !== Node.ELEMENT_NODE) before.nodeValue = after.nodeValue;
  else {
    for (const { name } of [...before.attributes]) if (!after.hasAttribute(name)) before.removeAttribute(name);
    for (const { name, value } of after.attributes) before.setAttribute(name, value);
    followInside(before, after);
  }
}

function followInside(before, after) {
  const [old, current] = [[...before.childNodes], [...after.childNodes]];
  if (old.length === current.length) old.forEach((each, index) => follow(each, current[index]));
  else before.replaceChildren(...current);
}

function verdict() {
  return main.querySelector(".verdict p")?.innerText ?? "";
}

function isOld() {
  main.classList.add("stale");
  said.textContent = "This replica does not answer; what is shown is old.";
}

async function refresh() {
  // Nobody looks, or somebody is at work with a form or a selection. A click anywhere gives main itself the focus.
  const focused = document.activeElement;
  const busy = document.hidden || (focused !== main && main.contains(focused)) || !getSelection().isCollapsed;
  if (!busy) {
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" }, redirect: "error" });
      const found = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main");
      if (answer.ok && found) {
        const before = verdict();
        followInside(main, found);
        const wasOld = main.classList.contains("stale");
        main.classList.remove("stale");
        // Said aloud only where it is another one: a reader would not get to an end otherwise.
        if (wasOld || verdict() !== before) said.textContent = verdict();
      } else {
        isOld();
      }
    } catch {
      isOld();
    }
  }
  setTimeout(refresh, seconds * 1000);
}

if (seconds > 0) setTimeout(refresh, seconds * 1000);
