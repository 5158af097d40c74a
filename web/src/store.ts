/** Conversations and settings in localStorage: one key a conversation, so that two windows do not undo each other. */

export interface Settings {
  system: string;
  /** Request fields; a missing one is left to the server. */
  sampling: Sampling;
}

export interface Sampling {
  temperature?: number;
  top_p?: number;
  top_k?: number;
  min_p?: number;
  repetition_penalty?: number;
  max_tokens?: number;
  seed?: number;
  stop?: string[];
}

export interface Timing {
  firstTokenMs: number;
  tokens: number;
  tokensPerSecond: number;
  promptTokens: number | null;
}

export interface Message {
  role: "user" | "assistant";
  content: string;
  reasoning?: string;
  /** Of an answer: why it ended. */
  ended?: "stop" | "length" | "stopped" | "error" | string;
  error?: string;
  timing?: Timing;
}

export interface Conversation {
  id: string;
  title: string;
  changed: number;
  settings: Settings;
  messages: Message[];
}

const kConversation = "miniinfer.conversation.";
const kDefaults = "miniinfer.defaults";
const kKey = "miniinfer.api-key";
const kTheme = "miniinfer.theme";

function read<T>(storage: Storage, key: string): T | null {
  try {
    const text = storage.getItem(key);
    return text === null ? null : (JSON.parse(text) as T);
  } catch {
    return null;
  }
}

/** False when the browser refuses: its quota is used up or storage is off. */
function write(storage: Storage, key: string, value: unknown): boolean {
  try {
    storage.setItem(key, JSON.stringify(value));
    return true;
  } catch {
    return false;
  }
}

function isConversation(value: Conversation | null): value is Conversation {
  return value !== null && typeof value.id === "string" && Array.isArray(value.messages) && !!value.settings?.sampling;
}

/** Newest first. */
export function loadConversations(): Conversation[] {
  const found: Conversation[] = [];
  for (const key of Object.keys(localStorage)) {
    if (!key.startsWith(kConversation)) continue;
    const value = read<Conversation>(localStorage, key);
    if (isConversation(value)) found.push(value);
  }
  return found.sort((a, b) => b.changed - a.changed);
}

export function conversationKey(id: string): string {
  return kConversation + id;
}

export function saveConversation(conversation: Conversation): boolean {
  return write(localStorage, conversationKey(conversation.id), conversation);
}

export function deleteConversation(id: string): void {
  localStorage.removeItem(conversationKey(id));
}

export function isConversationKey(key: string | null): boolean {
  return key === null || key.startsWith(kConversation);
}

export function newConversation(): Conversation {
  return {
    id: `${Date.now().toString(36)}-${Math.random().toString(36).slice(2, 8)}`,
    title: "",
    changed: Date.now(),
    settings: loadDefaults(),
    messages: [],
  };
}

/** The settings that a new conversation starts with: those last confirmed. */
export function loadDefaults(): Settings {
  const settings = read<Settings>(localStorage, kDefaults);
  return settings?.sampling ? settings : { system: "", sampling: {} };
}

export function saveDefaults(settings: Settings): void {
  write(localStorage, kDefaults, settings);
}

export function loadKey(): { key: string; remembered: boolean } {
  const kept = read<string>(localStorage, kKey);
  return kept ? { key: kept, remembered: true } : { key: read<string>(sessionStorage, kKey) ?? "", remembered: false };
}

/** The key stays in this tab alone unless the user asks to remember it. */
export function saveKey(key: string, remember: boolean): void {
  localStorage.removeItem(kKey);
  sessionStorage.removeItem(kKey);
  if (key !== "") write(remember ? localStorage : sessionStorage, kKey, key);
}

export type Theme = "system" | "light" | "dark";

export function loadTheme(): Theme {
  const theme = read<Theme>(localStorage, kTheme);
  return theme === "light" || theme === "dark" ? theme : "system";
}

export function saveTheme(theme: Theme): void {
  write(localStorage, kTheme, theme);
}
