import { h } from "./dom";

export interface Tab {
  label: string;
  panel: HTMLElement;
  shown(visible: boolean): void;
}

/** Tabs as screen readers know them: one stop for the Tab key, arrows between them. */
export function tabList(tabs: Tab[]): HTMLElement {
  const nodes = tabs.map(({ label, panel }, i) => {
    panel.id = `panel-${i}`;
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-labelledby", `tab-${i}`);
    return h("button", { type: "button", role: "tab", id: `tab-${i}`, "aria-controls": panel.id }, label);
  });
  const choose = (chosen: number): void => {
    nodes.forEach((node, i) => {
      node.setAttribute("aria-selected", String(i === chosen));
      node.tabIndex = i === chosen ? 0 : -1;
      const tab = tabs[i] as Tab;
      tab.panel.hidden = i !== chosen;
      tab.shown(i === chosen);
    });
  };
  nodes.forEach((node, i) => {
    node.addEventListener("click", () => choose(i));
    node.addEventListener("keydown", ({ key }) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
      if (step === undefined) return;
      const next = (i + step + nodes.length) % nodes.length;
      choose(next);
      nodes[next]?.focus();
    });
  });
  choose(0);
  return h("div", { role: "tablist", "aria-label": "Views" }, ...nodes);
}
