// The widget's own words in the customer's language. What the assistant and the agents write stays as it is.

const ENGLISH = {
  subtitle_assistant: "Automatic assistant · shows its sources",
  subtitle_waiting: "A person will take over",
  subtitle_agent: "You are talking to {name}",
  subtitle_closed: "Conversation closed",
  welcome_title: "How can we help?",
  welcome_text: "Describe what happened, or send a photo: of the blinking light, the display, the label or the damage.",
  welcome_photo: "Add a photo",
  welcome_note:
    "You are writing to an automatic assistant. It answers from our help articles and hands over to a person when it is not sure. The place a photo was taken at is removed from it.",
  person: "Talk to a person",
  person_asking: "Asking…",
  person_first: "Write what it is about: it goes straight to a person.",
  close: "Close the chat",
  conversation: "Conversation",
  message: "Message",
  placeholder: "Write a message…",
  attach: "Add photos",
  send: "Send",
  drop: "Drop photos here",
  remove: "Remove {name}",
  newest: "New messages",
  you: "You",
  assistant: "Assistant",
  agent: "Support",
  writing: "The assistant is writing",
  reading_photo: "The assistant is looking at your photo",
  writing_long: "Still working on it",
  writing_before: "In line: {n} before you",
  sending: "Sending…",
  sent: "Sent",
  waiting: "Will be sent when you are back online",
  retrying: "Not sent yet. Trying again…",
  not_sent: "Not sent",
  not_sent_because: "Not sent: {reason}",
  photos_lost: "the photos are no longer there. Please attach them again.",
  try_again: "Try again",
  discard: "Remove",
  rejected: "{name} was not taken: {reason}",
  too_many: "At most {n} files go with one message.",
  too_large: "{name} is larger than {n} MB.",
  too_long: "A message has at most {n} characters.",
  sources: "Sources",
  source: "Source {n}: {title}",
  open_article: "Open the article",
  figure: "Picture from the article",
  helpful: "Did this help?",
  helpful_yes: "Yes, this helped",
  helpful_no: "No, this did not help",
  photo: "Photo: {name}",
  open_photo: "Show {name} large",
  close_photo: "Close the photo",
  download: "Download {name}",
  offline: "You are offline. What you write is kept and sent when you are back.",
  reconnecting: "Connecting again…",
  banner_waiting: "A colleague takes over from here",
  banner_next: "You are next in line. You can close this window and come back.",
  banner_place: "You are number {n} in line. You can close this window and come back.",
  banner_agent: "{name} has joined",
  banner_agent_text: "and can see everything you have sent.",
  banner_closed: "This conversation is closed",
  banner_closed_text: "Write to open it again, or start a new one.",
  start_new: "New conversation",
  gone: "This conversation has ended. Here begins a new one.",
  today: "Today",
  yesterday: "Yesterday",
};

const GERMAN = {
  subtitle_assistant: "Automatischer Assistent · nennt seine Quellen",
  subtitle_waiting: "Ein Mensch übernimmt",
  subtitle_agent: "Sie sprechen mit {name}",
  subtitle_closed: "Gespräch beendet",
  welcome_title: "Wie können wir helfen?",
  welcome_text:
    "Beschreiben Sie, was passiert ist, oder schicken Sie ein Foto: vom blinkenden Licht, der Anzeige, dem Typenschild oder dem Schaden.",
  welcome_photo: "Foto hinzufügen",
  welcome_note:
    "Sie schreiben mit einem automatischen Assistenten. Er antwortet aus unseren Hilfeartikeln und gibt an einen Menschen ab, wenn er nicht sicher ist. Der Aufnahmeort wird aus Fotos entfernt.",
  person: "Mit einem Menschen sprechen",
  person_asking: "Wird angefragt…",
  person_first: "Schreiben Sie, worum es geht: es geht direkt an einen Menschen.",
  close: "Chat schließen",
  conversation: "Gespräch",
  message: "Nachricht",
  placeholder: "Nachricht schreiben…",
  attach: "Fotos hinzufügen",
  send: "Senden",
  drop: "Fotos hier ablegen",
  remove: "{name} entfernen",
  newest: "Neue Nachrichten",
  you: "Sie",
  assistant: "Assistent",
  agent: "Kundendienst",
  writing: "Der Assistent schreibt",
  reading_photo: "Der Assistent sieht sich Ihr Foto an",
  writing_long: "Es dauert noch einen Moment",
  writing_before: "In der Reihe: {n} vor Ihnen",
  sending: "Wird gesendet…",
  sent: "Gesendet",
  waiting: "Wird gesendet, sobald Sie wieder online sind",
  retrying: "Noch nicht gesendet. Neuer Versuch…",
  not_sent: "Nicht gesendet",
  not_sent_because: "Nicht gesendet: {reason}",
  photos_lost: "die Fotos sind nicht mehr da. Bitte fügen Sie sie noch einmal hinzu.",
  try_again: "Erneut senden",
  discard: "Entfernen",
  rejected: "{name} wurde nicht angenommen: {reason}",
  too_many: "Mit einer Nachricht gehen höchstens {n} Dateien.",
  too_large: "{name} ist größer als {n} MB.",
  too_long: "Eine Nachricht hat höchstens {n} Zeichen.",
  sources: "Quellen",
  source: "Quelle {n}: {title}",
  open_article: "Artikel öffnen",
  figure: "Bild aus dem Artikel",
  helpful: "Hat das geholfen?",
  helpful_yes: "Ja, das hat geholfen",
  helpful_no: "Nein, das hat nicht geholfen",
  photo: "Foto: {name}",
  open_photo: "{name} groß anzeigen",
  close_photo: "Foto schließen",
  download: "{name} herunterladen",
  offline: "Sie sind offline. Was Sie schreiben, wird aufgehoben und später gesendet.",
  reconnecting: "Verbindung wird wiederhergestellt…",
  banner_waiting: "Ab hier übernimmt ein Mensch",
  banner_next: "Sie sind als Nächstes dran. Sie können das Fenster schließen und wiederkommen.",
  banner_place: "Sie sind Nummer {n} in der Reihe. Sie können das Fenster schließen und wiederkommen.",
  banner_agent: "{name} ist da",
  banner_agent_text: "und sieht alles, was Sie geschickt haben.",
  banner_closed: "Dieses Gespräch ist beendet",
  banner_closed_text: "Schreiben Sie, um es wieder zu öffnen, oder beginnen Sie ein neues.",
  start_new: "Neues Gespräch",
  gone: "Das Gespräch ist beendet. Hier beginnt ein neues.",
  today: "Heute",
  yesterday: "Gestern",
};

// Sentences the server says by itself, by their English wording.
const GERMAN_NOTICES = new Map([
  ["A colleague will take over here.", "Hier übernimmt ein Kollege oder eine Kollegin."],
  [
    "I could not find a reliable answer in our articles, so a colleague will take over.",
    "In unseren Artikeln habe ich keine verlässliche Antwort gefunden, darum übernimmt ein Mensch.",
  ],
  [
    "I am not certain enough of the answer, so a colleague will take over.",
    "Ich bin mir der Antwort nicht sicher genug, darum übernimmt ein Mensch.",
  ],
  [
    "This should be looked at by a person, so a colleague will take over.",
    "Das sollte sich ein Mensch ansehen, darum übernimmt ein Kollege oder eine Kollegin.",
  ],
  [
    "I cannot answer right now, so a colleague will take over.",
    "Ich kann gerade nicht antworten, darum übernimmt ein Mensch.",
  ],
  ["You are next in line.", "Sie sind als Nächstes dran."],
  ["You are number # in line.", "Sie sind Nummer # in der Reihe."],
  [
    "They can see everything you have sent; you can close this window and come back.",
    "Dort sieht man alles, was Sie geschickt haben; Sie können das Fenster schließen und wiederkommen.",
  ],
]);

export const LANGUAGES = { en: ENGLISH, de: GERMAN };
const NOTICES = { de: GERMAN_NOTICES };

let language = "en";

/** Choose by a list of BCP 47 tags, first match wins. */
export function chooseLanguage(tags) {
  const known = tags
    .filter(Boolean)
    .map((tag) => tag.toLowerCase().split("-")[0])
    .find((tag) => Object.hasOwn(LANGUAGES, tag));
  language = known ?? "en";
  document.documentElement.lang = language;
}

export function currentLanguage() {
  return language;
}

/** The text with its {placeholders} filled in. */
export function t(key, values = {}) {
  const text = LANGUAGES[language][key] ?? ENGLISH[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

/** A notice of the server, sentence by sentence; what is not known stays as it came. */
export function translateNotice(text) {
  const known = NOTICES[language];
  if (!known) return text;
  return text
    .split(/(?<=[.!?])\s+/)
    .map((sentence) => {
      const number = sentence.match(/\d+/)?.[0];
      const translated = known.get(number ? sentence.replace(number, "#") : sentence);
      return translated ? translated.replace("#", number ?? "") : sentence;
    })
    .join(" ");
}

/** Put the words into every element that names one: data-text, data-label (aria-label), data-hint (placeholder). */
export function fillIn(root) {
  for (const element of root.querySelectorAll("[data-text]")) element.textContent = t(element.dataset.text);
  for (const element of root.querySelectorAll("[data-label]")) {
    element.setAttribute("aria-label", t(element.dataset.label));
    if (element.localName === "button") element.title = t(element.dataset.label);
  }
  for (const element of root.querySelectorAll("[data-hint]")) element.placeholder = t(element.dataset.hint);
}
