// The preview follows what is typed. Without this file the Preview button shows the same.
(() => {
  "use strict";
  const form = document.querySelector("form[data-preview]"), place = document.getElementById("preview");
  if (!form || !place) return;
  let timer, asked;
  const ask = async () => {
    asked?.abort();
    asked = new AbortController();
    const typed = new FormData(form);
    typed.set("preview", "1");
    try {
      const answer = await fetch(location.href, { method: "POST", body: typed, redirect: "manual", signal: asked.signal });
      if (!answer.ok) return;
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("preview");
      const open = place.querySelector("details")?.open;
      if (!fresh) return;
      place.replaceChildren(...fresh.childNodes);
      const plain = place.querySelector("details");
      if (plain) plain.open = Boolean(open);
    } catch { /* Typed on, or the line is bad: the next key asks again. */ }
  };
  form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(ask, 350);
  });
})();
