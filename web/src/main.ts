import "./style.css";
import { ChatView } from "./chat";
import { h } from "./dom";
import { Sidebar } from "./sidebar";
import { StateView } from "./state_view";
import { conversationKey, deleteConversation, isConversationKey, loadConversations, newConversation } from "./store";
import { tabList } from "./tabs";
import { themeButton } from "./theme";

let conversations = loadConversations();

const sidebar = new Sidebar({
  choose: (conversation) => {
    chat.show(conversation);
    draw();
    chat.focus();
  },
  create: () => {
    chat.show(newConversation());
    draw();
    chat.focus();
  },
  remove: (conversation) => {
    if (!window.confirm(`Delete “${conversation.title}”?`)) return;
    chat.discard(conversation.id);
    deleteConversation(conversation.id);
    conversations = conversations.filter(({ id }) => id !== conversation.id);
    if (chat.current().id === conversation.id) chat.show(conversations[0] ?? newConversation());
    draw();
    chat.focus();
  },
});

const chat: ChatView = new ChatView(conversations[0] ?? newConversation(), (conversation) => {
  conversations = [conversation, ...conversations.filter(({ id }) => id !== conversation.id)];
  draw();
});
const state = new StateView();

function draw(): void {
  sidebar.draw(conversations, chat.current().id);
}

// Another window changed the history. What is being answered here is newer than what it wrote.
window.addEventListener("storage", (event) => {
  if (!isConversationKey(event.key)) return;
  const here = conversations.filter(({ id }) => chat.isRunning(id));
  conversations = [...here, ...loadConversations().filter(({ id }) => !chat.isRunning(id))];
  const current = conversations.find(({ id }) => id === chat.current().id);
  if (current !== undefined && event.key === conversationKey(current.id)) chat.show(current);
  draw();
});

const talk = h("div", { class: "talk" }, sidebar.element, chat.element);
const tabs = tabList([
  { label: "Chat", panel: talk, shown: (visible) => sidebar.toggle.toggleAttribute("hidden", !visible) },
  { label: "Engine", panel: state.element, shown: (visible) => state.setShown(visible) },
]);
document
  .getElementById("app")
  ?.append(h("header", {}, sidebar.toggle, h("h1", {}, "MiniInfer"), tabs, themeButton()), h("main", {}, talk, state.element));
draw();
chat.focus();
