// For readers with a keyboard or a screen reader: what the theme leaves undone.
document.addEventListener("DOMContentLoaded", () => {
  // A name that says something else than the text in sight is worse than none; a button without text needs one.
  document.querySelectorAll("summary[aria-label], .search-button-field").forEach((e) => e.removeAttribute("aria-label"));
  // The icons become drawings with a title inside, before or after this line; the button has its name.
  document.querySelectorAll(".theme-switch-button").forEach((button) => {
    const hush = () => button.querySelectorAll(".theme-switch").forEach((icon) => {
      icon.removeAttribute("title");
      icon.removeAttribute("aria-labelledby");
      icon.querySelector("title")?.remove();
      icon.setAttribute("aria-hidden", "true");
    });
    hush();
    new MutationObserver(hush).observe(button, { childList: true });
  });
  document.querySelectorAll("summary:has(> .toctree-toggle)").forEach((e) => {
    e.setAttribute("aria-label", `Pages of ${e.closest("li").querySelector("a").textContent}`);
  });
  // Entries of the bibliography carry a role that is out of use, in a list that may not hold it.
  document.querySelectorAll(".citation-list, .citation").forEach((e) => e.removeAttribute("role"));

  // A formula and the full stop or comma after it stay on one line.
  document.querySelectorAll(".bd-article span.math").forEach((e) => {
    const stop = e.nextSibling?.nodeType === Node.TEXT_NODE && e.nextSibling.data.match(/^[.,;:!?)\]’]+/);
    if (!stop) return;
    const both = document.createElement("span");
    both.className = "with-stop";
    e.nextSibling.deleteData(0, stop[0].length);
    e.replaceWith(both);
    both.append(e, stop[0]);
  });

  // Long proofs are folded; their directive makes no title that the theme could fold.
  document.querySelectorAll(".bd-article div.proof.folded").forEach((proof) => {
    const box = document.createElement("details");
    const summary = document.createElement("summary");
    const first = document.createTreeWalker(proof, NodeFilter.SHOW_TEXT);
    while (first.nextNode() && !first.currentNode.data.trim());
    first.currentNode.data = first.currentNode.data.replace(/^\s*Proof\.\s*/, "");
    box.className = proof.className;
    summary.textContent = "Proof";
    box.append(summary, ...proof.childNodes);
    proof.replaceWith(box);
  });

  // What a cell glued is a number, which does not break, or words, which do.
  document.querySelectorAll(".bd-article span.pasted-text").forEach((e) => e.classList.toggle("words", e.textContent.length > 24));

  // A picture opens alone, as large as it is; one of several panels side by side scrolls on a phone, where they would be too small.
  document.querySelectorAll(".bd-article :is(figure, .cell_output) img").forEach((img) => {
    if (img.closest("a, .slider-figure")) return;
    const link = document.createElement("a");
    link.href = img.src;
    img.replaceWith(link);
    link.append(img);
    const several = /[Pp]anel|\bLeft\b|^(Two|Three|Above|Top)\b/.test(img.alt);
    const grid = /^(Four|Six)\b[^.]*panels/.test(img.alt);
    const shape = () => link.classList.toggle("panels", several && (grid || img.naturalWidth > 1.5 * img.naturalHeight));
    if (img.complete) shape();
    img.addEventListener("load", shape);
  });

  // Tables of words, and on a phone those that are wider than it: custom.css stacks their rows there, under the names of the columns.
  const tables = []; // those that only their width stacks
  document.querySelectorAll(".bd-article table:not(.indextable, .modindextable)").forEach((table) => {
    const names = [...table.querySelectorAll("thead th")].map((th) => th.textContent.trim());
    const rows = [...table.querySelectorAll("tbody tr")].map((tr) => [...tr.cells]);
    if (names.length < 3) return;
    rows.forEach((row) => row.forEach((td, i) => names[i] && td.textContent.trim() && (td.dataset.name = names[i])));
    rows.flat().forEach((td) => td.classList.toggle("one-word", /^\S{1,24}$/.test(td.textContent.trim())));
    const inside = rows.filter((row) => row.filter((td) => td.textContent.trim()).length > 1); // the others are headings
    if (!inside.some((row) => row.some((td) => td.textContent.length > 40))) return void tables.push(table);
    table.classList.add("words");
    table.classList.toggle("many", names.length > 4);
  });

  // What scrolls sideways can be reached with Tab, so that the arrow keys move it.
  const article = document.querySelector(".bd-article");
  if (!article) return;
  const reach = () => {
    tables.forEach((table) => table.classList.remove("words", "numbers", "tight"));
    const phone = matchMedia("(max-width: 600px)").matches;
    const broad = (share) => (table) => phone && table.offsetWidth > share * table.parentElement.clientWidth + 1;
    tables.filter(broad(1)).forEach((table) => table.classList.add("tight")); // smaller; if far too wide even then, stacked
    tables.filter(broad(1.2)).forEach((table) => table.classList.add("words", "numbers"));
    const inline = [...article.querySelectorAll('mjx-container:not([display="true"])')];
    inline.forEach((box) => box.classList.remove("wide"));
    const wide = inline.map((box) => { // in a line of text: only what the line cannot hold scrolls
      const line = box.closest("p, li, dt, dd, td, th, figcaption, div").getBoundingClientRect();
      const formula = box.firstElementChild?.getBoundingClientRect();
      return formula && (formula.width > line.width + 1 || formula.right > line.right + 1);
    });
    inline.forEach((box, i) => {
      box.classList.toggle("wide", wide[i]);
      if (wide[i]) box.setAttribute("tabindex", "0");
      else box.removeAttribute("tabindex");
    });
    for (const box of article.querySelectorAll("pre, div, figure")) {
      const scrolls = box.scrollWidth > box.clientWidth + 1 && /auto|scroll/.test(getComputedStyle(box).overflowX);
      if (scrolls && box.tabIndex < 0) box.setAttribute("tabindex", "0"); // the theme's own look came before an unfolding
      else if (!scrolls && box.dataset.reach) box.removeAttribute("tabindex");
      if (scrolls) box.dataset.reach = "yes";
    }
  };
  new ResizeObserver(reach).observe(article); // also after mathematics is set, a cell is unfolded, a phone is turned
});
