// The list keeps still while something is selected in it, and says how much. Without this file it works, too.
(() => {
  "use strict";
  const rows = document.getElementById("rows"), bar = document.getElementById("act");
  const place = bar?.querySelector("[data-selected]"), live = rows?.dataset.live;
  if (!place) return;
  const show = () => {
    const all = bar.elements.all.checked, n = rows.querySelectorAll("input[name=r]:checked").length;
    place.textContent = all ? "" : n ? `${n} selected` : "";
    if (n) delete rows.dataset.live; else rows.dataset.live = live;
  };
  document.addEventListener("change", show);
  show();
})();
