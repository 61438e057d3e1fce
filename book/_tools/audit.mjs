// Audit of the built pages in headless Chromium:  node book/_tools/audit.mjs [--shots FOLDER] [PAGE ...]
//
// Run by `make audit`, which installs axe-core and playwright-core below _build/audit. Each page is loaded on a
// screen of 1280 px, light and dark, and on a phone of 390 px. It fails
//   * on a serious or critical finding of axe-core: all rules in light, colours in dark, what depends on the width on a phone;
//   * on text of tables, outputs and admonitions below a contrast of 4.5 (3 if large), computed from the colours on screen;
//   * if a phone would have to scroll sideways;
//   * if page and pictures together exceed 2 MB, or headings do not begin with one h1 or leave out a level;
//   * if the Tab key does not reach every link of the navigation and every button, or shows no sign where it stands.
// Folded cells and solutions are opened first. Nothing is loaded from outside: what a page needs lies beside it.

import { createServer } from "node:http";
import { readFile, readdir, mkdir, access } from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";

const root = path.resolve(import.meta.dirname, "../..");
const installed = process.env.AUDIT_MODULES ?? path.join(root, "_build/audit");
const html = process.env.AUDIT_HTML ?? path.join(root, "_build/html");
const require = createRequire(path.join(installed, "index.js"));
const { chromium } = require("playwright-core");
const axe = await readFile(require.resolve("axe-core/axe.min.js"), "utf8");

const LIMIT = 2e6; // bytes of a page with its pictures
const PHONE = { width: 390, height: 844 };
const DESK = { width: 1280, height: 900 };
const KINDS = {
  ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".png": "image/png", ".svg": "image/svg+xml",
  ".woff2": "font/woff2", ".woff": "font/woff", ".json": "application/json",
};

const args = process.argv.slice(2);
const at = args.indexOf("--shots");
const shots = at >= 0 ? path.resolve(args.splice(at, 2)[1]) : null;
if (shots) await mkdir(shots, { recursive: true });

const exists = (file) => access(file).then(() => true, () => false);

async function pagesBelow(folder) {
  const found = [];
  for (const entry of await readdir(path.join(html, folder), { withFileTypes: true })) {
    if (entry.name.startsWith("_")) continue;
    const name = path.posix.join(folder, entry.name);
    if (entry.isDirectory()) found.push(...(await pagesBelow(name)));
    else if (name.endsWith(".html")) found.push(name);
  }
  return found.sort();
}

// The pages over HTTP.
const server = createServer(async (request, response) => {
  const name = decodeURIComponent(new URL(request.url, "http://localhost").pathname);
  const file = path.join(html, name);
  if (!file.startsWith(html) || !(await exists(file))) return response.writeHead(404).end();
  const body = await readFile(file);
  response.writeHead(200, { "content-type": KINDS[path.extname(file)] ?? "application/octet-stream" }).end(body);
});
await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
const base = `http://127.0.0.1:${server.address().port}/`;

async function open(browser, page, viewport, theme) {
  const context = await browser.newContext({ viewport, colorScheme: theme, reducedMotion: "reduce" });
  await context.route((address) => !address.href.startsWith(base), (route) => route.abort());
  await context.addInitScript(`localStorage.setItem("mode", "${theme}"); localStorage.setItem("theme", "${theme}")`);
  const tab = await context.newPage();
  tab.setDefaultTimeout(180_000);
  const bytes = { all: 0 };
  tab.on("response", async (response) => {
    const kind = response.request().resourceType();
    if (response.url().startsWith(base) && (kind === "image" || kind === "document")) {
      bytes.all += (await response.body().catch(() => Buffer.alloc(0))).length;
    }
  });
  await tab.goto(base + page, { waitUntil: "load" });
  await tab.evaluate(async () => {
    document.querySelectorAll("img[loading=lazy]").forEach((image) => (image.loading = "eager"));
    await window.MathJax?.startup?.promise;
  });
  return { context, tab, bytes };
}

// --- what runs inside the page ---------------------------------------------------------------------------------------

const unfold = async () => {
  document.querySelectorAll(".bd-article details").forEach((box) => (box.open = true));
  document.querySelectorAll(".bd-article .toggle-hidden").forEach((box) => box.classList.remove("toggle-hidden"));
  for (let frame = 0; frame < 3; frame++) await new Promise(requestAnimationFrame);
};

// For axe-core, which is slow on thousands of elements: of formulas and coloured code the boxes stay. Contrast is computed before.
const flatten = () => {
  document.querySelectorAll(".highlight pre").forEach((code) => (code.textContent = code.textContent));
  for (const glyphs of document.querySelectorAll("mjx-container > mjx-math")) {
    const { width, height } = glyphs.getBoundingClientRect();
    Object.assign(glyphs.style, { display: "inline-block", width: `${width}px`, height: `${height}px` });
    glyphs.replaceChildren();
  }
};

const wide = () => {
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= width) return [];
  const inBox = (element) => {
    for (let box = element.parentElement; box && box !== document.body; box = box.parentElement) {
      if (/auto|scroll|hidden|clip/.test(getComputedStyle(box).overflowX)) return true;
    }
    return false;
  };
  const far = [...document.body.querySelectorAll("*")].filter((e) => e.getBoundingClientRect().right > width + 1 && !inBox(e));
  return far.slice(0, 5).map((e) => `${e.tagName.toLowerCase()}.${[...e.classList].join(".")} ends at ${Math.round(e.getBoundingClientRect().right)} px`)
    .concat(`the page is ${document.documentElement.scrollWidth} px wide`);
};

const headings = () => {
  const problems = [];
  const found = [...document.querySelectorAll("main h1, main h2, main h3, main h4, main h5, main h6")].filter((e) => e.checkVisibility());
  const levels = found.map((e) => Number(e.tagName[1]));
  if (levels.filter((level) => level === 1).length !== 1 || levels[0] !== 1) problems.push(`levels begin ${levels.slice(0, 5)}`);
  levels.forEach((level, i) => i && level > levels[i - 1] + 1 && problems.push(`h${levels[i - 1]} is followed by h${level}: ${found[i].textContent.slice(0, 50)}`));
  return problems;
};

// WCAG contrast of each piece of text in tables, outputs, admonitions and code with the background painted below it.
const contrasts = () => {
  const canvas = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });
  const known = new Map();
  const channels = (text) => {
    if (!known.has(text)) {
      canvas.clearRect(0, 0, 1, 1);
      canvas.fillStyle = text;
      canvas.fillRect(0, 0, 1, 1);
      const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
      known.set(text, [r, g, b, a / 255]);
    }
    return known.get(text);
  };
  const over = ([r, g, b, a], below) => [r, g, b].map((c, i) => a * c + (1 - a) * below[i]);
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const background = (element) => {
    const layers = [];
    for (let box = element; box; box = box.parentElement) layers.push(channels(getComputedStyle(box).backgroundColor));
    return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255]);
  };
  const worst = new Map();
  const places = ".bd-article :is(table, .cell_output, .cell_input, .admonition, div.proof, figcaption, .highlight)";
  for (const place of document.querySelectorAll(places)) {
    const walker = document.createTreeWalker(place, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      const element = walker.currentNode.parentElement;
      if (!walker.currentNode.textContent.trim() || element.closest("mjx-assistive-mml, script, style") || !element.checkVisibility()) continue;
      const look = getComputedStyle(element);
      const below = background(element);
      const [a, b] = [luminance(over(channels(look.color), below)), luminance(below)].sort((x, y) => y - x);
      const ratio = (a + 0.05) / (b + 0.05);
      const size = parseFloat(look.fontSize);
      const large = size >= 24 || (size >= 18.66 && Number(look.fontWeight) >= 700);
      const name = `${place.className || place.tagName} > ${element.tagName.toLowerCase()}.${element.className}`;
      if (ratio < (large ? 3 : 4.5) && ratio < (worst.get(name)?.ratio ?? 99)) {
        worst.set(name, { ratio, text: walker.currentNode.textContent.trim().slice(0, 40) });
      }
    }
  }
  return [...worst].map(([name, { ratio, text }]) => `${ratio.toFixed(2)} at ${name}: ${text}`);
};

// --- the keyboard ----------------------------------------------------------------------------------------------------

async function keyboard(tab) {
  const wanted = await tab.evaluate(() => {
    const areas = ".bd-sidebar-primary, .bd-header-article, .prev-next-footer, .bd-sidebar-secondary, .bd-article";
    const stops = document.querySelectorAll(`:is(${areas}) :is(a[href], button, summary, input, select, label[for])`);
    let number = 0;
    for (const stop of stops) {
      const button = stop.tagName !== "LABEL" || !document.getElementById(stop.htmlFor)?.matches(":not([tabindex='-1'])");
      if (!stop.checkVisibility({ visibilityProperty: true }) || stop.disabled || stop.closest("mjx-container") || !button) continue;
      if (stop.classList.contains("headerlink") || stop.tabIndex < 0 || stop.tagName === "LABEL") continue;
      stop.dataset.audit = number++;
    }
    const stopped = (window.stopped = { numbers: new Set(), dull: new Set(), first: null });
    document.addEventListener("focusin", ({ target }) => {
      const look = getComputedStyle(target);
      const ring = (look.outlineStyle !== "none" && parseFloat(look.outlineWidth) > 0) || look.boxShadow !== "none";
      stopped.first ??= target.textContent.trim().slice(0, 30);
      if (target.dataset.audit !== undefined) stopped.numbers.add(target.dataset.audit);
      if (!ring) stopped.dull.add(`${target.tagName.toLowerCase()}.${target.className}`);
    });
    document.activeElement?.blur();
    window.scrollTo(0, 0);
    return number;
  });
  for (let press = 0, reached = 0; press < 3000 && reached < wanted; press += 50) {
    for (let i = 0; i < 50; i++) await tab.keyboard.press("Tab");
    const now = await tab.evaluate(() => window.stopped.numbers.size);
    if (now === reached) break;
    reached = now;
  }
  const { missed, dull, first } = await tab.evaluate(() => ({
    missed: [...document.querySelectorAll("[data-audit]")].filter((e) => !window.stopped.numbers.has(e.dataset.audit))
      .map((e) => `${e.tagName.toLowerCase()}.${e.className} "${e.textContent.trim().slice(0, 30)}"`),
    dull: [...window.stopped.dull],
    first: window.stopped.first,
  }));
  const problems = missed.slice(0, 5).map((name) => `Tab does not reach ${name}`);
  if (missed.length > 5) problems.push(`and ${missed.length - 5} more`);
  if (!/skip/i.test(first ?? "")) problems.push(`the first stop is not the link to the content but "${first}"`);
  for (const name of dull) problems.push(`no sign of focus on ${name}`);
  return problems;
}

// --- one page --------------------------------------------------------------------------------------------------------

async function findings(tab, rules) {
  await tab.evaluate(axe);
  const options = { resultTypes: ["violations"], ...(rules && { runOnly: rules }) };
  const result = await tab.evaluate((o) => window.axe.run(document, o), options);
  const lines = { grave: [], slight: [] };
  for (const rule of result.violations) {
    const heap = rule.impact === "serious" || rule.impact === "critical" ? lines.grave : lines.slight;
    const where = rule.nodes.slice(0, 3).map((node) => node.target.join(" ")).join(" | ");
    const told = rule.nodes[0].any.concat(rule.nodes[0].all)[0]?.message ?? rule.help;
    heap.push(`axe ${rule.impact} ${rule.id} (${rule.nodes.length}): ${told} at ${where}`);
  }
  return lines;
}

async function audit(browser, page) {
  const problems = [];
  const notes = [];
  const add = (place, lines) => lines.forEach((line) => problems.push(`${place}: ${line}`));
  const picture = (tab, kind) => shots && tab.screenshot({ path: path.join(shots, `${page.replaceAll("/", "_").replace(".html", "")}-${kind}.png`), fullPage: true });
  let size = 0;
  for (const theme of ["light", "dark"]) {
    const { context, tab, bytes } = await open(browser, page, DESK, theme);
    if (theme === "light") {
      add("headings", await tab.evaluate(headings));
      add("keyboard", await keyboard(tab));
      await picture(tab, "light");
    } else await picture(tab, "dark");
    await tab.evaluate(unfold);
    add(`${theme}, contrast`, await tab.evaluate(contrasts));
    await tab.evaluate(flatten);
    const found = await findings(tab, theme === "dark" && ["color-contrast", "link-in-text-block"]);
    add(theme, found.grave);
    found.slight.forEach((line) => notes.push(`${theme}: ${line}`));
    size = Math.max(size, bytes.all);
    await context.close();
  }
  const { context, tab } = await open(browser, page, PHONE, "light");
  await picture(tab, "phone");
  await tab.evaluate(unfold);
  add("phone", await tab.evaluate(wide));
  await tab.evaluate(flatten);
  add("phone", (await findings(tab, ["scrollable-region-focusable", "label-content-name-mismatch", "button-name", "link-name"])).grave);
  await context.close();
  if (size > LIMIT) add("size", [`${(size / 1e6).toFixed(2)} MB`]);
  return { problems, notes, size };
}

const pages = args.length ? args : (await pagesBelow("")).filter((page) => !/^(genindex|py-modindex|search)\.html$/.test(page) && page !== "index.html");
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu"] });
let failed = 0;
const slight = new Map();
for (const page of pages) {
  const { problems, notes, size } = await audit(browser, page);
  failed += problems.length > 0;
  console.log(`${page}: ${problems.length ? "FAILED" : "ok"}, ${(size / 1e6).toFixed(2)} MB`);
  problems.forEach((problem) => console.log(`    ${problem}`));
  notes.forEach((note) => slight.set(note.replace(/ at .*/, ""), note));
}
if (slight.size) console.log(`not grave: \n    ${[...slight.values()].join("\n    ")}`);
console.log(failed ? `${failed} of ${pages.length} pages failed` : `${pages.length} pages passed`);
await browser.close();
server.close();
process.exitCode = failed ? 1 : 0;
