// Bundles the page into ../_dist: index.html, the service worker with the list of files, and
// sizes.json with what the first view loads.
import { createHash } from "node:crypto";
import { cp, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { basename, resolve } from "node:path";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const DIST = new URL("../_dist/", import.meta.url);
const common = {
  bundle: true,
  minify: true,
  format: "esm",
  target: ["chrome120", "firefox121", "safari17"],
  charset: "utf8",
  legalComments: "none",
  metafile: true,
  logLevel: "warning",
};
const path = (name) => new URL(name, DIST).pathname;
const zipped = async (name) => gzipSync(await readFile(path(name)), { level: 9 }).length;

const page = {
  ...common,
  entryPoints: ["src/page.ts", "src/styles/page.css"],
  outdir: path("."),
  entryNames: "[name]-[hash]",
  chunkNames: "part-[name]-[hash]",
  splitting: true,
};

// esbuild makes a chunk of the modules that the same parts of the page share. So each part imports
// all that any of them shares with the first view: then that is one chunk, and one request.
async function bundlePage() {
  const { metafile: { outputs } } = await build({ ...page, write: false });
  const script = entryOf(outputs, "src/page.ts");
  const shared = loadedFirst(outputs, script).filter((name) => name !== script)
    .flatMap((name) => Object.keys(outputs[name].inputs));
  const imports = shared.map((name) => `import ${JSON.stringify(resolve(name))};`).join("\n");
  const later = Object.values(outputs).map((one) => one.entryPoint)
    .filter((name) => name?.endsWith(".ts") && name !== "src/page.ts").map((name) => resolve(name));
  const sharing = {
    name: "sharing",
    setup: ({ onLoad }) => onLoad({ filter: /\.ts$/ }, async ({ path: name }) => later.includes(name)
      ? { contents: `${await readFile(name, "utf8")}\n${imports}`, loader: "ts" } : undefined),
  };
  const { metafile } = await build({ ...page, plugins: [sharing] });
  return metafile.outputs;
}

function entryOf(outputs, source) {
  return Object.keys(outputs).find((name) => outputs[name].entryPoint === source);
}

// The entry and all that it imports at once, without what is imported when it is needed.
function loadedFirst(outputs, entry) {
  const found = new Set();
  const visit = (name) => {
    if (found.has(name)) return;
    found.add(name);
    for (const one of outputs[name].imports) if (one.kind === "import-statement") visit(one.path);
  };
  visit(entry);
  return [...found];
}

async function writePage(outputs) {
  const script = entryOf(outputs, "src/page.ts");
  const style = entryOf(outputs, "src/styles/page.css");
  const first = loadedFirst(outputs, script);
  const preloads = first.filter((name) => name !== script)
    .map((name) => `<link rel="modulepreload" href="./${basename(name)}">`).join("\n    ");
  const template = await readFile("src/index.html", "utf8");
  // A browser fetches an icon again whenever the address changes: in the page it takes no request.
  const icon = (await readFile("public/icon.svg")).toString("base64");
  await writeFile(path("index.html"), template
    .replace("{{icon}}", `data:image/svg+xml;base64,${icon}`)
    .replace("{{style}}", basename(style))
    .replace("{{script}}", basename(script))
    .replace("{{preloads}}", preloads));
  return ["index.html", ...[style, ...first].map((name) => basename(name))];
}

async function writeWorker(names) {
  const digest = createHash("sha256");
  for (const name of [...names].sort()) digest.update(await readFile(path(name)));
  await build({
    ...common,
    entryPoints: ["src/sw.ts"],
    outfile: path("sw.js"),
    define: {
      FILES: JSON.stringify(names),
      VERSION: JSON.stringify(digest.digest("hex").slice(0, 12)),
    },
  });
}

await rm(DIST, { recursive: true, force: true });
await mkdir(DIST, { recursive: true });
await cp("public", path("."), { recursive: true });
const outputs = await bundlePage();
const first = await writePage(outputs);
const all = new Set([...first, ...Object.keys(outputs).map((name) => basename(name)),
  "manifest.webmanifest", "icon.svg"]);
await writeWorker([...all]);
const sizes = {};
for (const name of first) sizes[name] = await zipped(name);
const total = Object.values(sizes).reduce((sum, one) => sum + one, 0);
await writeFile(path("sizes.json"), JSON.stringify({ first_view_bytes: total, files: sizes }));
console.log(`first view: ${total.toLocaleString("en")} bytes gzipped`);
