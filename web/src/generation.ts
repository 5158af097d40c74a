import { ApiError, streamChat } from "./api";
import { saveConversation, type Conversation, type Message } from "./store";

const kSaveEveryMs = 1000;
const kApartMs = 10;

/** One running answer: streams into the conversation's last message. */
export class Generation {
  private readonly controller = new AbortController();

  constructor(
    readonly conversation: Conversation,
    readonly message: Message,
  ) {}

  stop(): void {
    this.controller.abort();
  }

  /** Ends when the answer has ended, whatever way; `changed` is called after every piece. */
  async run(model: string, changed: () => void): Promise<void> {
    const { conversation, message } = this;
    const history = conversation.messages.slice(0, conversation.messages.indexOf(message)).filter((m) => m.content !== "");
    const sent = performance.now();
    let first = 0;
    let latest = 0;
    let pieces = 0;
    let counted: number | null = null;
    let promptTokens: number | null = null;
    let saved = sent;
    const note = (): void => {
      if (first === 0) return;
      const tokens = counted ?? pieces;
      // The first token belongs to the time before it, unless all came at once: then the whole time counts.
      const apart = latest - first >= kApartMs;
      const tokensPerSecond = (1000 * (apart ? tokens - 1 : tokens)) / (latest - (apart ? first : sent));
      message.timing = { firstTokenMs: first - sent, tokens, tokensPerSecond, promptTokens };
    };
    try {
      for await (const delta of streamChat(model, history, conversation.settings, this.controller.signal)) {
        counted = delta.completionTokens ?? counted;
        promptTokens = delta.promptTokens ?? promptTokens;
        if (delta.finish !== null) message.ended = delta.finish;
        if (delta.content === "" && delta.reasoning === "") continue;
        latest = performance.now();
        if (first === 0) first = latest;
        ++pieces;
        message.content += delta.content;
        if (delta.reasoning !== "") message.reasoning = (message.reasoning ?? "") + delta.reasoning;
        if (latest - saved > kSaveEveryMs) {
          saved = latest;
          saveConversation(conversation);
        }
        changed();
      }
      message.ended ??= "stop";
    } catch (error) {
      message.ended = this.controller.signal.aborted ? "stopped" : "error";
      if (message.ended === "error")
        message.error = error instanceof ApiError ? error.message : "The answer could not be read.";
    }
    note();
  }
}
