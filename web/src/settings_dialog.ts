import { button, freshId, h } from "./dom";
import { loadKey, saveKey, type Sampling, type Settings } from "./store";

interface Field {
  name: Exclude<keyof Sampling, "stop">;
  label: string;
  min: number;
  max: number;
  step: number | "any";
}

const fields: Field[] = [
  { name: "temperature", label: "Temperature", min: 0, max: 2, step: "any" },
  { name: "top_p", label: "Top p", min: 0.001, max: 1, step: "any" },
  { name: "top_k", label: "Top k", min: -1, max: 1000000, step: 1 },
  { name: "min_p", label: "Min p", min: 0, max: 1, step: "any" },
  { name: "repetition_penalty", label: "Repetition penalty", min: 0.001, max: 10, step: "any" },
  { name: "max_tokens", label: "Most tokens to answer", min: 1, max: 1048576, step: 1 },
  { name: "seed", label: "Seed", min: 0, max: Number.MAX_SAFE_INTEGER, step: 1 },
];

function labelled(label: string, control: HTMLElement, hint?: string): HTMLElement {
  control.id = freshId("field");
  const row = h("div", { class: "field" }, h("label", { for: control.id }, label), control);
  if (hint !== undefined) {
    const id = freshId("hint");
    control.setAttribute("aria-describedby", id);
    row.append(h("small", { id }, hint));
  }
  return row;
}

/** The settings of a conversation and the key of this browser. `done` gets the confirmed settings. */
export function openSettings(settings: Settings, done: (settings: Settings) => void): void {
  const system = h("textarea", { rows: 4 });
  system.value = settings.system;
  const inputs = fields.map((field) => {
    const input = h("input", { type: "number", min: field.min, max: field.max, step: field.step, placeholder: "default" });
    input.value = settings.sampling[field.name]?.toString() ?? "";
    return input;
  });
  const stop = h("textarea", { rows: 2 });
  stop.value = (settings.sampling.stop ?? []).join("\n");
  const stored = loadKey();
  const key = h("input", { type: "password", autocomplete: "off", spellcheck: "false" });
  key.value = stored.key;
  const remember = h("input", { type: "checkbox" });
  remember.checked = stored.remembered;

  const title = freshId("title");
  const form = h(
    "form",
    { method: "dialog" },
    h("h2", { id: title }, "Settings"),
    labelled("System prompt", system, "Of this conversation and of new ones."),
    h("div", { class: "grid" }, ...fields.map((field, i) => labelled(field.label, inputs[i] as HTMLElement))),
    labelled("Stop at", stop, "One text a line; the answer ends before it."),
    labelled("API key", key, "Kept until this tab is closed."),
    h("div", { class: "field check" }, h("label", {}, remember, " Remember the key in this browser")),
    h("div", { class: "buttons" }, button("Cancel", () => dialog.close(), { class: "quiet" }), h("button", { type: "submit" }, "Save")),
  );
  const dialog = h("dialog", { "aria-labelledby": title }, form);
  form.addEventListener("submit", () => {
    const sampling: Sampling = {};
    fields.forEach((field, i) => {
      const text = (inputs[i] as HTMLInputElement).value;
      if (text !== "") sampling[field.name] = Number(text);
    });
    const stops = stop.value.split("\n").filter((line) => line !== "");
    if (stops.length > 0) sampling.stop = stops;
    saveKey(key.value.trim(), remember.checked);
    done({ system: system.value, sampling });
  });
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}
