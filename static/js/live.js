// Live parts: elements with an id and data-live="seconds" are fetched again from the page's own address and
// patched in place, so that focus, scroll, open <details> and half-filled forms stay. Without this file a
// reload shows the same.
(() => {
  "use strict";
  const root = document.documentElement;
  root.dataset.js = "";
  let heard = Date.now();

  const length = (ms) => {
    const s = Math.max(0, Math.floor(ms / 1000)), m = Math.floor(s / 60), h = Math.floor(m / 60), d = Math.floor(h / 24);
    if (s < 60) return `${s} s`;
    if (m < 60) return `${m} min`;
    if (h < 24) return m % 60 ? `${h} h ${m % 60} min` : `${h} h`;
    return h % 24 ? `${d} d ${h % 24} h` : `${d} d`;
  };
  const say = (element, text) => { if (element.textContent !== text) element.textContent = text; };
  const tell = () => {
    const now = Date.now();
    for (const time of document.querySelectorAll("time[data-ago]")) {
      const passed = now - Date.parse(time.dateTime);
      say(time, passed < 1000 ? "now" : `${length(passed)} ago`);
    }
    for (const time of document.querySelectorAll("time[data-until]")) {
      const left = Date.parse(time.dateTime) - now;
      say(time, left <= 0 ? "now" : `in ${length(left)}`);
    }
    const since = now - heard;
    for (const place of document.querySelectorAll("[data-heard]")) {
      say(place, since > 30000 ? `no answer for ${length(since)}` : `updated ${length(since)} ago`);
      place.classList.toggle("stale", since > 30000);
    }
  };

  const same = (a, b) => a.nodeType === b.nodeType && a.nodeName === b.nodeName && (a.id || "") === (b.id || "");
  const patch = (old, fresh) => {
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
      return;
    }
    // What somebody is typing into, and the nonce of a form already on the screen, are theirs.
    if (old.matches("input, select, textarea, [data-heard], time[data-ago][datetime='" + (fresh.dateTime || "-") + "']")) return;
    for (const { name } of [...old.attributes]) {
      if (!fresh.hasAttribute(name) && !(name === "open" && old.nodeName === "DETAILS")) old.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    const theirs = [...old.childNodes], ours = [...fresh.childNodes];
    ours.forEach((child, i) => {
      if (!theirs[i]) old.append(child);
      else if (same(theirs[i], child)) patch(theirs[i], child);
      else theirs[i].replaceWith(child);
    });
    theirs.slice(ours.length).forEach((child) => child.remove());
  };

  const parts = () => [...document.querySelectorAll("[data-live][id]")];
  const seconds = () => Math.min(...parts().map((part) => Number(part.dataset.live) || 5));
  let timer, running;
  const refresh = async () => {
    clearTimeout(timer);
    if (running || document.hidden || !parts().length) return;
    running = true;
    try {
      const answer = await fetch(location.href, { headers: { "X-Live": "1" }, redirect: "manual", signal: AbortSignal.timeout(10000) });
      if (answer.type === "opaqueredirect") return location.reload();
      if (answer.ok) {
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        for (const part of parts()) {
          const fresh = page.getElementById(part.id);
          if (fresh && !part.contains(document.activeElement?.closest("form:not([data-calm])"))) patch(part, fresh);
        }
        heard = Date.now();
      }
    } catch { /* The line is bad: the page says since when, and tries again. */ } finally { running = false; }
    tell();
    if (parts().length) timer = setTimeout(refresh, seconds() * 1000);
  };

  document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
  document.addEventListener("change", (event) => {
    if (event.target.matches("select[data-submit]")) event.target.form.requestSubmit();
  });
  // One open question at a time; Escape or a click elsewhere takes it back.
  const close = (except) => document.querySelectorAll("details.confirm[open]").forEach((one) => { if (one !== except) one.open = false; });
  document.addEventListener("click", (event) => close(event.target.closest("details.confirm")));
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    const open = document.activeElement?.closest("details.confirm[open]");
    close();
    open?.querySelector("summary").focus();
  });
  tell();
  setInterval(() => { if (!document.hidden) tell(); }, 1000);
  if (parts().length) timer = setTimeout(refresh, seconds() * 1000);
})();
