// English: the language whose names and forms the others follow.
import { bytesIn, dayIn, momentIn, monthIn, numberIn, secondsIn, usdIn } from "./forms";

const LOCALE = "en-US";
const number = numberIn(LOCALE);
const usd = usdIn(LOCALE);

function images(count: number): string {
  return `${number(count)} ${count === 1 ? "image" : "images"}`;
}

const PARAMETERS: Record<string, string> = {
  size: "Size", aspect_ratio: "Shape", resolution: "Resolution", quality: "Quality",
  style: "Style", background: "Background", output_format: "File format", seed: "Seed",
  negative_prompt: "Leave out", guidance: "Guidance", steps: "Steps", safety: "Safety",
  strength: "Strength", scale: "Scale", mode: "Mode", previews: "Previews", prompt: "Prompt",
  model: "Model", provider: "Provider", references: "References", mask: "Mask",
};
const ACRONYMS = new Set(["png", "jpeg", "webp", "svg", "avif", "gif", "hd"]);
const OPERATIONS: Record<string, string> = {
  generate: "Made", edit: "Edit", vary: "Vary", enhance: "Enhance", restyle: "Restyle",
};

export const en = {
  code: "en" as string,
  number,
  day: dayIn(LOCALE),
  month: monthIn(LOCALE),
  moment: momentIn(LOCALE),
  seconds: secondsIn(LOCALE, "s", "min"),
  size: bytesIn(LOCALE),
  percent: (share: number): string => `${Math.round(share * 100)} %`,
  price: (expected: string | null, high: string | null): string => {
    if (expected === null) return high === null ? "Price unknown" : `Up to ${usd(high)}`;
    return Number(expected) === 0 ? "Free" : usd(expected);
  },

  // Frame
  skip: "Skip to content",
  views: "Views",
  images: "Images",
  make: "Make",
  spending: "Spending",
  offline: "No connection",
  left: (amount: string): string => `${usd(amount)} left`,
  budgetLeftTitle: "What the tightest budget has left",
  languageLabel: "Language",
  theme: (now: string): string => `Theme: ${now === "auto" ? "as the system" : now}`,
  loading: "Loading…",
  viewMissing: "This part of the page could not be loaded. Is the server running?",
  noServer: "The server does not answer. Start it with imagen web, then try again.",
  close: "Close",
  done: "Done",
  save: "Save",
  clear: "Clear",
  undo: "Undo",
  redo: "Redo",
  notNow: "Not now",
  alarm: (budget: string, share: number): string =>
    `${Math.round(share * 100)} % of the budget "${budget}" is spent.`,

  // Dialog
  makeTitle: "Make images",
  prompt: "Prompt",
  promptPlaceholder: "A harbour at dusk, seen from the water, long exposure",
  references: "References",
  addReference: "Add an image",
  removeReference: (name: string): string => `Remove the reference ${name}`,
  noReferences: (model: string): string => `${model} takes no reference images.`,
  tooManyReferences: (model: string, most: number): string =>
    `${model} takes at most ${images(most)} as references.`,
  howMany: "How many",
  priceSoon: "Write a prompt to see the price.",
  priceUnknown: "the provider names no price",
  priceUnknownShort: "Price unknown",
  forImages: (count: number): string => `for ${images(count)}`,
  makeImages: (count: number): string => `Make ${images(count)}`,
  noKey: (provider: string): string => `No key for ${provider} is set. See the settings of imagen.`,
  consentTitle: "Spend this much?",
  consentText: (count: number, high: string | null): string => high === null
    ? `The price of ${images(count)} is not known.`
    : `${images(count)} may cost up to ${usd(high)}. That is above your limit for asking.`,
  consentYes: "Make them",

  // Models and parameters
  model: "Model",
  noModels: "No models",
  chooseModel: "Choose a model",
  onlyWithKey: "Ready to use",
  searchModels: "Search by name, provider or strength",
  noModelFound: "No model has all these words.",
  moreModels: (count: number): string => `${number(count)} more. Add a word to narrow the list.`,
  modelsPicked: (count: number): string =>
    count > 1 ? `${number(count)} models: each makes every image` : "Pick several to compare them",
  ready: "ready",
  keyMissing: "no key",
  shape: "Shape",
  automatic: "Auto",
  freeSize: "Other size, such as 1280x720",
  moreParameters: "More parameters",
  lacking: (model: string): string => `Not with ${model}`,
  lackingReason: "this model does not have it",
  randomSeed: "Random seed",
  parameter: (name: string): string => PARAMETERS[name] ?? name.replaceAll("_", " "),
  choice: (name: string): string => ACRONYMS.has(name) ? name.toUpperCase()
    : name.charAt(0).toUpperCase() + name.slice(1).replaceAll("_", " "),

  // Prompts
  keptPrompts: "Prompts",
  styles: "Styles",
  keepPrompt: "Keep this prompt",
  promptKept: "The prompt is kept.",
  noKeptPrompts: "No prompts are kept yet.",
  wordings: (count: number): string => `${number(count)} wordings`,

  // Making
  making: "Being made",
  withoutPrompt: "Without a prompt",
  cancelAll: "Cancel",
  dismiss: "Dismiss",
  collectPaid: "Collect what was paid",
  makeRest: (count: number): string => `Make the other ${number(count)}`,
  doneOf: (done: number, all: number): string => `${number(done)} of ${number(all)}`,
  soFar: (amount: string | null): string => amount === null ? ""
    : Number(amount) === 0 ? "free" : `${usd(amount)} so far`,
  failedCount: (count: number): string => `${number(count)} failed`,
  batchState: (state: string): string => ({
    finished: "finished", cancelled: "cancelled", failed: "stopped",
    interrupted: "interrupted: the server ended",
  } as Record<string, string>)[state] ?? state,
  placeName: (place: number): string => `image ${number(place)}`,
  placeState: (state: string): string => ({
    waiting: "waiting", queued: "queued", sent: "sent", failed: "failed", dropped: "dropped",
    lost: "not made", done: "done",
  } as Record<string, string>)[state] ?? state,
  drop: (name: string): string => `Drop ${name}`,
  tryAgain: "Try again",
  otherModel: "Another model",
  andMore: (count: number): string => `+${number(count)}`,
  started: "Started. It appears here when it is done.",

  // Gallery
  gallery: "Images",
  timeline: "Time line",
  tileLabel: (prompt: string, stars: number): string =>
    (prompt || "Without a prompt") + (stars > 0 ? `, ${stars} stars` : ""),
  searchImages: "Search prompts, tags and notes",
  starsFilter: "Stars",
  tag: "Tag",
  collection: "Collection",
  trash: "Trash",
  any: (what: string): string => `${what}: any`,
  tileSize: "Size of the thumbnails",
  imageCount: images,
  nothingYet: "Your images will be here.",
  nothingYetHint: "Write a prompt and make the first one. With the model “sketch” it costs nothing.",
  nothingFound: "Nothing matches.",
  nothingFoundHint: "Try fewer words, or take a filter away.",
  clearFilters: "Show all images",
  selectionLabel: "Selected images",
  selected: (count: number): string => `${number(count)} selected`,
  clearSelection: "Clear the selection",
  restore: "Restore",
  tagAction: "Add tags",
  collect: "Add to a collection",
  compare: "Compare",
  asReference: "Use as reference",
  zip: "Download as ZIP",
  trashAction: "Move to the trash",
  tagTitle: (count: number): string => `Tags for ${images(count)}, with commas between`,
  collectTitle: (count: number): string => `Collection for ${images(count)}`,
  tagged: (count: number): string => `${images(count)} tagged.`,
  collected: (count: number, name: string): string => `${images(count)} added to “${name}”.`,
  trashed: (count: number): string => `${images(count)} moved to the trash.`,
  restored: (count: number): string => `${images(count)} restored.`,
  sentLater: "Kept here. It is sent when the server answers again.",
  outboxSent: (count: number): string =>
    `${number(count)} ${count === 1 ? "change" : "changes"} made offline were sent. Where two differ, the last one counts.`,
  stars: "Stars",
  starCount: (count: number): string => `${count} ${count === 1 ? "star" : "stars"}`,

  // Details
  noImage: "This image is not here.",
  backToImages: "Back to the images",
  theImage: "Image",
  details: "Details",
  previous: "Previous image",
  next: "Next image",
  slides: "Slide show",
  play: "Play",
  pause: "Pause",
  download: "Download",
  revisedPrompt: "As the provider worded it",
  edit: "Edit",
  vary: "Vary",
  enhance: "Enhance",
  reuse: "Make again",
  share: "Share",
  shared: (link: string): string => `The link is copied: ${link}`,
  tags: "Tags",
  addTag: "Add a tag",
  removeTag: (tag: string): string => `Remove the tag ${tag}`,
  notes: "Notes",
  provider: "Provider",
  made: "Made",
  cost: "Cost",
  costSource: (source: string): string => ({
    reported: "as the provider billed it", computed: "by its usage", estimated: "estimated",
    free: "free", unknown: "unknown",
  } as Record<string, string>)[source] ?? source,
  took: "Took",
  pixels: "Pixels",
  bytes: "File",
  collections: "Collections",
  provenance: "Provenance",
  sealed: "sealed with C2PA",
  adjustments: "Adjusted for the model",
  adjusted: (name: string, asked: string | null, used: string | null): string =>
    `${name}: ${asked ?? "–"} became ${used ?? "–"}`,
  lineage: "Lineage",
  operation: (name: string): string => OPERATIONS[name] ?? name,
  similar: "Similar images",
  record: "Record",
  slider: "Slider",
  sideBySide: "Side by side",
  differences: "Differences",

  // Editor
  editTitle: "Edit",
  maskCanvas: "Mask. Draw with the pointer; B brush, E eraser, L lasso, R rectangle, I invert.",
  tools: "Tools",
  tool: (name: string): string => ({
    brush: "Brush (B)", eraser: "Eraser (E)", lasso: "Lasso (L)", rectangle: "Rectangle (R)",
    pan: "Move (Space)",
  } as Record<string, string>)[name] ?? name,
  mask: "Mask",
  frame: "Crop & extend",
  fit: "Show all",
  before: "Before",
  invert: "Invert the mask",
  clearMask: "Clear the mask",
  maskColor: "Colour of the mask",
  turn: "Turn right",
  flip: "Mirror",
  resetFrame: "Frame of the whole image",
  widen: "Extend by a quarter on each side",
  doWhat: "Then",
  noEditModel: "No model with a key can edit. Set a key for one that can.",
  editPlaceholder: "What the marked area is to be",
  maskUsed: "Only the marked area changes.",
  maskEmpty: "Without a mask the whole image may change.",
  versions: "Versions",
  brushSize: "Brush",
  feather: "Soft edge",
  importMask: "Import a mask",
  exportMask: "Export the mask",
  frameHint: "Drag the handles. Inside the image it is cropped; beyond it, the model paints what belongs there.",
  saveFrame: "Save the frame as a file",
  look: "Look to take over",
  lookMissing: "Choose the image whose look is taken over.",

  // Money
  span: "Span",
  lastDays: (days: number): string => days === 365 ? "1 year" : `${days} days`,
  today: "Today",
  thisMonth: "This month",
  budget: (name: string): string => `Budget: ${name}`,
  taken: (taken: string, limit: string | null): string =>
    limit === null ? `${usd(taken)} spent` : `${usd(taken)} of ${usd(limit)} spent`,
  noBudget: "No budget is set",
  noBudgetHint: "A budget refuses what goes beyond it. Set one in imagen.toml.",
  unknownTitle: (count: number): string =>
    `${number(count)} ${count === 1 ? "request" : "requests"} of unknown outcome`,
  unknownHint: "They may have been billed. Ask the provider again, or enter what its account shows.",
  askAgain: "Ask the providers again",
  collectedUnknown: (count: number): string => `${number(count)} settled.`,
  billed: "Billed, in US dollars",
  byDay: "Spending by day",
  imagesByDay: "Images by day",
  totalOf: (amount: string, count: number): string =>
    `${Number(amount) === 0 ? "Free" : usd(amount)}, ${images(count)}`,
  asTable: "As a table",
  dayWord: "Day",
  byKind: "By",
  kind: (name: string): string =>
    ({ model: "Model", provider: "Provider", tag: "Tag" } as Record<string, string>)[name] ?? name,
  nothingSpent: "Nothing in this span.",
  withoutTag: "without a tag",
  howModelsDid: "How the models did",
  success: "Succeeded",
  typical: "Typical",
  slowest: "Slowest 5 %",
  perImage: "An image",
};
