import { listModels } from "./api";
import { button, h } from "./dom";
import { Generation } from "./generation";
import { MessageView, type MessageActions } from "./message_view";
import { openSettings } from "./settings_dialog";
import { saveConversation, saveDefaults, type Conversation, type Message } from "./store";

const kTitleLength = 60;

/** The chosen conversation: its messages and the box to write in. */
export class ChatView implements MessageActions {
  readonly element: HTMLElement;
  private readonly log = h("div", { class: "log", role: "log", "aria-label": "Conversation", tabindex: 0 });
  private readonly notice = h("p", { class: "notice error", role: "alert" });
  private readonly status = h("p", { class: "hidden", role: "status" });
  private readonly box = h("textarea", {
    id: "message",
    rows: 1,
    "aria-label": "Message",
    placeholder: "Ask something",
    autocomplete: "off",
  });
  private readonly send = h("button", { type: "submit" }, "Send");
  private readonly stop = button("Stop", () => this.running()?.stop(), { class: "stop", hidden: true });
  private readonly models = h("select", { "aria-label": "Model" });
  private views: MessageView[] = [];
  private readonly generations = new Map<string, Generation>();

  constructor(
    private conversation: Conversation,
    private readonly changed: (conversation: Conversation) => void,
  ) {
    const form = h("form", { class: "composer" }, this.box, this.send, this.stop);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    this.box.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.submit();
    });
    this.box.addEventListener("input", () => this.fitBox());
    const bar = h(
      "div",
      { class: "bar" },
      this.models,
      button("Settings", () => this.settings(), { class: "quiet" }),
    );
    this.element = h("section", { class: "chat", "aria-label": "Chat" }, bar, this.log, this.notice, this.status, form);
    this.element.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.running()?.stop();
    });
    window.addEventListener("pagehide", () => {
      for (const generation of this.generations.values()) {
        generation.stop();
        generation.message.ended = "stopped";
        saveConversation(generation.conversation);
      }
    });
    this.show(conversation);
    void this.loadModels();
  }

  current(): Conversation {
    return this.conversation;
  }
  isRunning(id: string): boolean {
    return this.generations.has(id);
  }
  /** Ends a deleted conversation's answer, which is then not kept. */
  discard(id: string): void {
    this.generations.get(id)?.stop();
    this.generations.delete(id);
  }
  focus(): void {
    this.box.focus();
  }

  show(conversation: Conversation): void {
    this.conversation = this.generations.get(conversation.id)?.conversation ?? conversation;
    this.draw();
    this.log.scrollTop = this.log.scrollHeight;
  }

  edit(message: Message, text: string): void {
    this.restart(this.conversation.messages.indexOf(message), { role: "user", content: text });
  }
  regenerate(message: Message): void {
    this.restart(this.conversation.messages.indexOf(message));
  }

  private running(): Generation | undefined {
    return this.generations.get(this.conversation.id);
  }

  /** Drops the messages from `index` on and answers what is left, with `question` at the end. */
  private restart(index: number, question?: Message): void {
    if (index < 0 || this.running() !== undefined) return;
    this.conversation.messages.length = index;
    if (question !== undefined) this.conversation.messages.push(question);
    void this.answer();
    this.box.focus();
  }

  private submit(): void {
    const text = this.box.value;
    if (text.trim() === "" || this.running() !== undefined) return;
    this.box.value = "";
    this.fitBox();
    this.conversation.messages.push({ role: "user", content: text });
    void this.answer();
  }

  private async answer(): Promise<void> {
    const { conversation } = this;
    const message: Message = { role: "assistant", content: "" };
    conversation.messages.push(message);
    conversation.title = (conversation.messages[0]?.content ?? "").trim().slice(0, kTitleLength);
    const generation = new Generation(conversation, message);
    this.generations.set(conversation.id, generation);
    this.save(conversation);
    this.draw();
    this.log.scrollTop = this.log.scrollHeight;
    this.status.textContent = "Answering";
    if (this.models.value === "") await this.loadModels();
    await generation.run(this.models.value, () => this.follow(message));
    if (!this.generations.delete(conversation.id)) return;
    this.save(conversation);
    if (this.conversation === conversation) {
      this.draw();
      this.status.textContent = message.ended === "stopped" ? "Stopped" : "Answer complete";
    }
  }

  private save(conversation: Conversation): void {
    conversation.changed = Date.now();
    if (!saveConversation(conversation)) this.notice.textContent = "This browser refuses to keep more conversations.";
    this.changed(conversation);
  }

  /** Draws the growing answer and keeps its end in sight, unless the reader scrolled up. */
  private follow(message: Message): void {
    const view = this.views.find((candidate) => candidate.message === message);
    if (view === undefined) return;
    view.updateSoon(true, () => this.pinned(), () => this.scrollDown());
  }
  private pinned(): boolean {
    return this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < 60;
  }
  private scrollDown(): void {
    this.log.scrollTop = this.log.scrollHeight;
  }

  private draw(): void {
    const { messages } = this.conversation;
    const running = this.running();
    const pinned = this.pinned();
    const old = new Map(this.views.map((view) => [view.message, view]));
    this.views = messages.map((message) => old.get(message) ?? new MessageView(message, this));
    this.views.forEach((view, i) => {
      if (view.message.role === "assistant")
        view.update(running?.message === view.message, i === messages.length - 1 && running === undefined);
    });
    const nodes = this.views.map((view) => view.element);
    if (nodes.length !== this.log.children.length || nodes.some((node, i) => this.log.children[i] !== node))
      this.log.replaceChildren(...nodes);
    this.log.classList.toggle("empty", messages.length === 0);
    this.send.hidden = running !== undefined;
    this.stop.hidden = running === undefined;
    if (pinned) this.scrollDown();
  }

  private fitBox(): void {
    this.box.rows = Math.min(8, this.box.value.split("\n").length);
  }

  private settings(): void {
    const { conversation } = this;
    openSettings(conversation.settings, (settings) => {
      conversation.settings = settings;
      saveDefaults(settings);
      if (conversation.messages.length > 0) this.save(conversation);
      void this.loadModels();
    });
  }

  private async loadModels(): Promise<void> {
    const chosen = this.models.value;
    try {
      const cards = await listModels();
      this.models.replaceChildren(...cards.map(({ id }) => h("option", { value: id }, id)));
      if (cards.some(({ id }) => id === chosen)) this.models.value = chosen;
      this.notice.textContent = "";
    } catch (error) {
      this.notice.textContent = error instanceof Error ? error.message : "The models could not be listed.";
    }
  }
}
