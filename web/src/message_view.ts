import { button, h } from "./dom";
import { renderMarkdown } from "./markdown";
import type { Message, Timing } from "./store";

export interface MessageActions {
  edit(message: Message, text: string): void;
  regenerate(message: Message): void;
}

const ending: Record<string, string> = {
  length: "ended at the token limit",
  stopped: "stopped",
  error: "failed",
};

export function describeTiming(timing: Timing): string {
  const { firstTokenMs, tokensPerSecond, tokens } = timing;
  const parts = [
    `first token ${firstTokenMs.toFixed(0)} ms`,
    `${tokensPerSecond.toFixed(1)} tokens/s`,
    `${tokens} ${tokens === 1 ? "token" : "tokens"}`,
  ];
  if (timing.promptTokens !== null) parts.push(`${timing.promptTokens} in the prompt`);
  return parts.join(" · ");
}

async function copy(text: string, from: HTMLButtonElement): Promise<void> {
  const label = from.textContent;
  try {
    await navigator.clipboard.writeText(text);
    from.textContent = "Copied";
  } catch {
    from.textContent = "Not allowed";
  }
  setTimeout(() => (from.textContent = label), 1500);
}

/** One message on the page. `update` is called again whenever its message changed. */
export class MessageView {
  readonly element: HTMLElement;
  private readonly body = h("div", { class: "body" });
  private readonly foot = h("footer");
  private scheduled = 0;
  private lastCost = 0;

  constructor(
    readonly message: Message,
    private readonly actions: MessageActions,
  ) {
    const user = message.role === "user";
    this.element = h(
      "article",
      { class: `message ${message.role}` },
      h("h2", { class: "who" }, user ? "You" : "Answer"),
      this.body,
      this.foot,
    );
    this.update(false);
  }

  /** Draws soon, at most a fifth of the time: drawing a long answer costs more than a frame. */
  updateSoon(running: boolean, pinned: () => boolean, scroll: () => void): void {
    if (this.scheduled !== 0) return;
    this.scheduled = window.setTimeout(
      () => {
        const follow = pinned();
        this.update(running);
        if (follow) scroll();
      },
      Math.max(16, 4 * this.lastCost),
    );
  }

  update(running: boolean, last = false): void {
    if (this.scheduled !== 0) window.clearTimeout(this.scheduled);
    this.scheduled = 0;
    const start = performance.now();
    if (this.message.role === "user") this.showQuestion();
    else this.showAnswer(running, last);
    this.lastCost = performance.now() - start;
  }

  private showQuestion(): void {
    this.body.replaceChildren(h("div", { class: "plain" }, this.message.content));
    this.foot.replaceChildren(button("Edit", () => this.startEdit(), { class: "quiet", "aria-label": "Edit this message" }));
  }

  private showAnswer(running: boolean, last: boolean): void {
    const { content, reasoning, ended, error, timing } = this.message;
    const parts: Node[] = [];
    if (reasoning) {
      const open = this.body.querySelector("details")?.open ?? false;
      parts.push(h("details", { open }, h("summary", {}, "Reasoning"), h("div", { class: "plain" }, reasoning)));
    }
    const text = h("div", { class: "markdown" });
    text.append(renderMarkdown(content));
    for (const pre of text.querySelectorAll("pre")) this.addCopy(pre);
    parts.push(text);
    if (error !== undefined) parts.push(h("p", { class: "error", role: "alert" }, error));
    this.body.replaceChildren(...parts);
    this.element.classList.toggle("running", running);
    this.element.setAttribute("aria-busy", String(running));
    if (running) return this.foot.replaceChildren();
    const notes = [timing && describeTiming(timing), ending[ended ?? "stopped"]].filter(Boolean).join(" · ");
    const copier: HTMLButtonElement = button("Copy", () => void copy(content, copier), {
      class: "quiet",
      "aria-label": "Copy this answer",
    });
    this.foot.replaceChildren(h("span", { class: "timing" }, notes));
    if (content !== "" && window.isSecureContext) this.foot.append(copier);
    if (last)
      this.foot.append(
        button("Regenerate", () => this.actions.regenerate(this.message), { class: "quiet", "data-action": "regenerate" }),
      );
  }

  private addCopy(pre: HTMLElement): void {
    pre.tabIndex = 0; // a long line is scrolled with the keyboard
    if (!window.isSecureContext) return;
    const text = pre.textContent ?? "";
    const copier: HTMLButtonElement = button("Copy", () => void copy(text, copier), {
      class: "quiet copy",
      "aria-label": "Copy this code",
    });
    const holder = h("div", { class: "code" });
    pre.replaceWith(holder);
    holder.append(pre, copier);
  }

  private startEdit(): void {
    const box = h("textarea", { rows: 3, "aria-label": "Edit the message" });
    box.value = this.message.content;
    const close = (): void => {
      this.update(false);
      this.foot.querySelector("button")?.focus();
    };
    const send = (): void => {
      if (box.value.trim() === "") return;
      this.actions.edit(this.message, box.value);
    };
    box.addEventListener("keydown", (event) => {
      if (event.key === "Escape") close();
      else if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        send();
      } else return;
      event.stopPropagation();
    });
    this.body.replaceChildren(box);
    this.foot.replaceChildren(button("Send", send), button("Cancel", close, { class: "quiet" }));
    box.focus();
  }
}
