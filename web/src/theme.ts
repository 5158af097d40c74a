import { button } from "./dom";
import { loadTheme, saveTheme, type Theme } from "./store";

const order: Theme[] = ["system", "light", "dark"];
const label: Record<Theme, string> = { system: "◐ Auto", light: "☀ Light", dark: "☾ Dark" };

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
    node.textContent = label[theme];
    node.setAttribute("aria-label", `Colours: ${theme}`);
  };
  show();
  return node;
}
