import { loadKey, type Message, type Settings } from "./store";

/** A refusal or a fault that the server reported; `message` is fit to show. */
export class ApiError extends Error {
  constructor(
    message: string,
    readonly status: number,
  ) {
    super(message);
  }
}

export interface ModelCard {
  id: string;
  max_model_len?: number;
}

interface ErrorBody {
  error?: { message?: string } | string;
  message?: string;
}

interface Chunk extends ErrorBody {
  choices?: {
    delta?: { content?: string | null; reasoning_content?: string | null };
    finish_reason?: string | null;
  }[];
  usage?: { prompt_tokens?: number; completion_tokens?: number } | null;
}

function headers(): Record<string, string> {
  const { key } = loadKey();
  return key === "" ? {} : { Authorization: `Bearer ${key}` };
}

function messageOf(body: ErrorBody): string | undefined {
  return typeof body.error === "string" ? body.error : (body.error?.message ?? body.message);
}

async function refusal(response: Response): Promise<ApiError> {
  const text = await response.text().catch(() => "");
  let message: string | undefined;
  try {
    message = messageOf(JSON.parse(text) as ErrorBody);
  } catch {
    message = text.slice(0, 300);
  }
  if (response.status === 401) message = "The server asks for an API key, or does not know this one. Set it in Settings.";
  const retry = response.headers.get("Retry-After");
  const hint = retry !== null && (response.status === 429 || response.status === 503) ? ` Try again in ${retry} s.` : "";
  return new ApiError((message || `The server answered ${response.status}.`) + hint, response.status);
}

async function request(path: string, init: RequestInit = {}): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(path, { ...init, headers: { ...headers(), ...(init.headers as Record<string, string>) } });
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new ApiError("The server cannot be reached.", 0);
  }
  if (!response.ok) throw await refusal(response);
  return response;
}

export async function listModels(): Promise<ModelCard[]> {
  const response = await request("/v1/models");
  const body = (await response.json()) as { data?: ModelCard[] };
  return Array.isArray(body.data) ? body.data : [];
}

export async function readMetrics(signal: AbortSignal): Promise<string> {
  return (await request("/metrics", { signal })).text();
}

/** The data of each server-sent event of a body, across any cut of its bytes. */
export async function* events(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const reader = body.pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>).getReader();
  let rest = "";
  let data: string[] = [];
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      const lines = (rest + value).split(/\r?\n/);
      rest = lines.pop() ?? "";
      for (const line of lines) {
        if (line.startsWith("data:")) data.push(line.slice(line[5] === " " ? 6 : 5));
        if (line === "" && data.length > 0) {
          yield data.join("\n");
          data = [];
        }
      }
    }
  } finally {
    reader.cancel().catch(() => undefined);
  }
}

export interface Delta {
  content: string;
  reasoning: string;
  finish: string | null;
  promptTokens: number | null;
  completionTokens: number | null;
}

/** Streams one answer. Throws ApiError, or the abort's own exception. */
export async function* streamChat(
  model: string,
  messages: Message[],
  settings: Settings,
  signal: AbortSignal,
): AsyncGenerator<Delta> {
  const system = settings.system.trim() === "" ? [] : [{ role: "system", content: settings.system }];
  const body = {
    model,
    messages: [...system, ...messages.map(({ role, content }) => ({ role, content }))],
    stream: true,
    stream_options: { include_usage: true },
    ...settings.sampling,
  };
  const response = await request("/v1/chat/completions", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    signal,
  });
  if (response.body === null) throw new ApiError("The server sent no answer.", response.status);
  for await (const data of events(response.body)) {
    if (data === "[DONE]") return;
    const chunk = JSON.parse(data) as Chunk;
    if (chunk.error !== undefined) throw new ApiError(messageOf(chunk) ?? "The server failed in mid-answer.", 200);
    const choice = chunk.choices?.[0];
    yield {
      content: choice?.delta?.content ?? "",
      reasoning: choice?.delta?.reasoning_content ?? "",
      finish: choice?.finish_reason ?? null,
      promptTokens: chunk.usage?.prompt_tokens ?? null,
      completionTokens: chunk.usage?.completion_tokens ?? null,
    };
  }
  throw new ApiError("The connection broke off before the answer was complete.", 0);
}
