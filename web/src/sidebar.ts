import { button, h } from "./dom";
import type { Conversation } from "./store";

export interface SidebarActions {
  choose(conversation: Conversation): void;
  create(): void;
  remove(conversation: Conversation): void;
}

/** The list of conversations; on a narrow screen it opens over the page. */
export class Sidebar {
  readonly element: HTMLElement;
  readonly toggle: HTMLButtonElement;
  private readonly list = h("ul", {});

  constructor(private readonly actions: SidebarActions) {
    this.toggle = button("☰", () => this.setOpen(!this.element.classList.contains("open")), {
      class: "quiet menu",
      "aria-label": "Conversations",
      "aria-expanded": "false",
      "aria-controls": "conversations",
    });
    this.element = h(
      "nav",
      { id: "conversations", "aria-label": "Conversations" },
      button("New conversation", () => {
        actions.create();
        this.setOpen(false);
      }),
      this.list,
    );
    this.element.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !this.element.classList.contains("open")) return;
      this.setOpen(false);
      this.toggle.focus();
    });
  }

  draw(conversations: Conversation[], chosen: string): void {
    const focused = this.element.contains(document.activeElement) ? document.activeElement?.getAttribute("data-key") : null;
    this.list.replaceChildren(
      ...conversations.map((conversation) => {
        const title = conversation.title || "New conversation";
        const open = button(
          title,
          () => {
            this.actions.choose(conversation);
            this.setOpen(false);
          },
          { class: "quiet title", "data-key": `open-${conversation.id}`, "aria-current": conversation.id === chosen ? "true" : false },
        );
        const remove = button("×", () => this.actions.remove(conversation), {
          class: "quiet",
          "aria-label": `Delete ${title}`,
          "data-key": `remove-${conversation.id}`,
        });
        return h("li", {}, open, remove);
      }),
    );
    if (focused) this.element.querySelector<HTMLElement>(`[data-key="${CSS.escape(focused)}"]`)?.focus();
  }

  private setOpen(open: boolean): void {
    this.element.classList.toggle("open", open);
    this.toggle.setAttribute("aria-expanded", String(open));
    if (open && this.toggle.offsetParent !== null) this.element.querySelector("button")?.focus();
  }
}
