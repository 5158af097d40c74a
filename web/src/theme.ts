import { button, h } from "./dom";
import { loadTheme, saveTheme, type Theme } from "./store";

const order: Theme[] = ["system", "light", "dark"];
const label: Record<Theme, [icon: string, name: string]> = { system: ["◐", "Auto"], light: ["☀", "Light"], dark: ["☾", "Dark"] };

export function themeButton(): HTMLButtonElement {
  let theme = loadTheme();
  const node = button("", () => {
    theme = order[(order.indexOf(theme) + 1) % order.length] ?? "system";
    saveTheme(theme);
    show();
  });
  const show = (): void => {
    if (theme === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    const [icon, name] = label[theme];
    node.replaceChildren(h("span", { "aria-hidden": "true" }, icon), ` ${name}`);
    node.setAttribute("aria-label", `Colours: ${name}`);
  };
  show();
  return node;
}
