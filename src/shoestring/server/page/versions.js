// The versions of a conversation: its messages are a tree. Each message names its parent by id (0: the beginning), and
// each parent names in `next` the child that is shown. A new version is a further child, so no text is ever replaced.

let newest = 0; // the highest id so far: none is used twice, as a deleted message may come back

/** The messages that are shown, in order. */
export function path(conversation) {
  const messages = byId(conversation);
  const shown = [];
  for (let one = messages.get(conversation.next); one; one = messages.get(one.next)) shown.push(one);
  return shown;
}

/** All versions of a message, oldest first. */
export function versionsOf(conversation, message) {
  return conversation.messages.filter(({ parent }) => parent === message.parent);
}

/** Adds a message behind the last one that is shown. */
export function append(conversation, message) {
  addBelow(conversation, path(conversation).at(-1) ?? conversation, message);
}

/** Adds another version of `message` and shows it. */
export function addVersion(conversation, message, version) {
  addBelow(conversation, parentOf(conversation, message), version);
}

function addBelow(conversation, parent, message) {
  newest = conversation.messages.reduce((most, { id }) => Math.max(most, id), newest) + 1;
  message.id = newest;
  message.parent = parent === conversation ? 0 : parent.id;
  message.next = 0;
  parent.next = message.id;
  conversation.messages.push(message);
}

/** Shows this message, and the versions that lead to it. */
export function choose(conversation, message) {
  const messages = byId(conversation);
  for (let one = message; one; one = messages.get(one.parent)) (messages.get(one.parent) ?? conversation).next = one.id;
}

/**
 * Removes one message; what follows it stays. The results of an answer's tool calls go with the answer. Returns a
 * function that undoes it, and keeps what was written since.
 */
export function remove(conversation, message) {
  const { next, messages } = conversation;
  const before = messages.map((one) => ({ one, parent: one.parent, next: one.next }));
  const gone = new Set([message.id]);
  if (message.role === "assistant") {
    for (const one of messages) if (one.role === "tool" && gone.has(one.parent)) gone.add(one.id);
  }
  const parent = parentOf(conversation, message);
  let shown = message;
  while (shown && gone.has(shown.id)) shown = messages.find(({ id }) => id === shown.next);
  conversation.messages = messages.filter(({ id }) => !gone.has(id));
  for (const one of conversation.messages) if (gone.has(one.parent)) one.parent = message.parent;
  const left = conversation.messages.filter((one) => one.parent === message.parent);
  if (parent.next === message.id) parent.next = (shown ?? left.at(-1))?.id ?? 0;

  return () => {
    const later = conversation.messages.filter((one) => !messages.includes(one));
    for (const { one, ...place } of before) Object.assign(one, place);
    conversation.next = next;
    conversation.messages = [...messages, ...later];
    if (later.length) choose(conversation, later.at(-1));
  };
}

function parentOf(conversation, message) {
  return conversation.messages.find(({ id }) => id === message.parent) ?? conversation;
}

function byId(conversation) {
  return new Map(conversation.messages.map((message) => [message.id, message]));
}
