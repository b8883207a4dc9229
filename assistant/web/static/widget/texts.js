// The widget's own texts in the customer's language. What the assistant and agents write is shown as is.

const ENGLISH = {
  subtitle_assistant: "Automated assistant · cites its sources",
  subtitle_waiting: "Waiting for a person",
  subtitle_agent: "You are chatting with {name}",
  subtitle_closed: "Conversation closed",
  welcome_title: "How can we help?",
  welcome_text: "Describe the problem or send a photo of the blinking light, the display, the label or the damage.",
  welcome_photo: "Add a photo",
  welcome_note:
    "You are chatting with an automated assistant. It answers from our help articles and hands over to a person when it is not sure. Location data is removed from photos.",
  person: "Talk to a person",
  person_asking: "Requesting…",
  person_first: "Tell us what it is about. Your message goes straight to a person.",
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
  jobs_ahead: "In the queue: {n} ahead of you",
  sending: "Sending…",
  sent: "Sent",
  waiting: "Will be sent when you are back online",
  retrying: "Not sent yet. Retrying…",
  not_sent: "Not sent",
  not_sent_because: "Not sent: {reason}",
  photos_lost: "The photos are no longer available. Please attach them again.",
  try_again: "Try again",
  discard: "Discard",
  rejected: "{name} was not accepted: {reason}",
  too_many: "You can attach up to {n} files to a message.",
  too_large: "{name} is larger than {n} MB.",
  too_long: "A message can have up to {n} characters.",
  sources: "Sources",
  quoted: "Show quoted text",
  source: "Source {n}: {title}",
  open_article: "Open article",
  page: "page {n}",
  figure: "Image from the article",
  helpful: "Did this help?",
  helpful_yes: "Yes, this helped",
  helpful_no: "No, this did not help",
  photo: "Photo: {name}",
  open_photo: "Enlarge {name}",
  close_photo: "Close photo",
  download: "Download {name}",
  file_lost: "{name} is no longer available. Please send it again if it still matters.",
  file_infected: "{name} contains malware and was removed.",
  offline: "You are offline. Your messages will be sent when you are back online.",
  reconnecting: "Reconnecting…",
  banner_waiting: "A colleague will take over from here",
  banner_next: "You are next in line. You can close this window and come back later.",
  banner_position: "You are number {n} in line. You can close this window and come back later.",
  banner_agent: "{name} has joined",
  banner_agent_text: "and can see everything you have sent.",
  banner_closed: "This conversation is closed",
  banner_closed_text: "Send a message to reopen it, or start a new one.",
  start_new: "New conversation",
  gone: "This conversation has ended. A new one starts here.",
  today: "Today",
  yesterday: "Yesterday",
};

const GERMAN = {
  subtitle_assistant: "Automatischer Assistent · nennt seine Quellen",
  subtitle_waiting: "Ein Mensch übernimmt",
  subtitle_agent: "Sie chatten mit {name}",
  subtitle_closed: "Chat beendet",
  welcome_title: "Wie können wir Ihnen helfen?",
  welcome_text:
    "Beschreiben Sie das Problem oder schicken Sie ein Foto vom blinkenden Licht, vom Display, vom Typenschild oder vom Schaden.",
  welcome_photo: "Foto hinzufügen",
  welcome_note:
    "Sie chatten mit einem automatischen Assistenten. Er antwortet anhand unserer Hilfeartikel und übergibt an einen Menschen, wenn er nicht sicher ist. Standortdaten werden aus Fotos entfernt.",
  person: "Mit einem Menschen sprechen",
  person_asking: "Wird angefragt…",
  person_first: "Schreiben Sie kurz, worum es geht. Ihre Nachricht geht direkt an einen Menschen.",
  close: "Chat schließen",
  conversation: "Chatverlauf",
  message: "Nachricht",
  placeholder: "Nachricht schreiben…",
  attach: "Fotos hinzufügen",
  send: "Senden",
  drop: "Fotos hier ablegen",
  remove: "{name} entfernen",
  newest: "Neue Nachrichten",
  you: "Sie",
  assistant: "Assistent",
  agent: "Kundenservice",
  writing: "Der Assistent schreibt",
  reading_photo: "Der Assistent sieht sich Ihr Foto an",
  writing_long: "Es dauert noch einen Moment",
  jobs_ahead: "In der Warteschlange: {n} vor Ihnen",
  sending: "Wird gesendet…",
  sent: "Gesendet",
  waiting: "Wird gesendet, sobald Sie wieder online sind",
  retrying: "Noch nicht gesendet. Wird erneut versucht…",
  not_sent: "Nicht gesendet",
  not_sent_because: "Nicht gesendet: {reason}",
  photos_lost: "Die Fotos sind nicht mehr verfügbar. Bitte fügen Sie sie erneut hinzu.",
  try_again: "Erneut versuchen",
  discard: "Verwerfen",
  rejected: "{name} wurde nicht angenommen: {reason}",
  too_many: "Sie können höchstens {n} Dateien pro Nachricht anhängen.",
  too_large: "{name} ist größer als {n} MB.",
  too_long: "Eine Nachricht darf höchstens {n} Zeichen lang sein.",
  sources: "Quellen",
  quoted: "Zitierten Text zeigen",
  source: "Quelle {n}: {title}",
  open_article: "Artikel öffnen",
  page: "Seite {n}",
  figure: "Bild aus dem Artikel",
  helpful: "War das hilfreich?",
  helpful_yes: "Ja, das war hilfreich",
  helpful_no: "Nein, das war nicht hilfreich",
  photo: "Foto: {name}",
  open_photo: "{name} vergrößern",
  close_photo: "Foto schließen",
  download: "{name} herunterladen",
  file_lost: "{name} ist nicht mehr verfügbar. Bitte senden Sie die Datei noch einmal, falls sie noch gebraucht wird.",
  file_infected: "{name} enthält Schadsoftware und wurde entfernt.",
  offline: "Sie sind offline. Ihre Nachrichten werden gesendet, sobald Sie wieder online sind.",
  reconnecting: "Verbindung wird wiederhergestellt…",
  banner_waiting: "Ab hier übernimmt ein Mensch",
  banner_next: "Sie sind als Nächstes an der Reihe. Sie können das Fenster schließen und später wiederkommen.",
  banner_position:
    "Sie sind Nummer {n} in der Warteschlange. Sie können das Fenster schließen und später wiederkommen.",
  banner_agent: "{name} ist jetzt für Sie da",
  banner_agent_text: "und sieht alles, was Sie geschickt haben.",
  banner_closed: "Dieser Chat ist beendet",
  banner_closed_text: "Schreiben Sie eine Nachricht, um ihn fortzusetzen, oder beginnen Sie einen neuen.",
  start_new: "Neuer Chat",
  gone: "Dieser Chat ist beendet. Hier beginnt ein neuer.",
  today: "Heute",
  yesterday: "Gestern",
};

// Sentences that the server writes, by their English wording; # stands for a number.
const GERMAN_NOTICES = new Map([
  ["A colleague will take over from here.", "Ab hier übernimmt ein Mensch."],
  [
    "I found no reliable answer in our articles, so a colleague will take over.",
    "In unseren Artikeln habe ich keine verlässliche Antwort gefunden, deshalb übernimmt ein Mensch.",
  ],
  [
    "I am not sure enough of the answer, so a colleague will take over.",
    "Ich bin mir bei der Antwort nicht sicher genug, deshalb übernimmt ein Mensch.",
  ],
  [
    "Our articles say no more about this, so a colleague will take over.",
    "Mehr steht dazu nicht in unseren Artikeln, deshalb gebe ich an unser Team weiter.",
  ],
  [
    "A person should look at this, so a colleague will take over.",
    "Das sollte sich ein Mensch ansehen, deshalb gebe ich an unser Team weiter.",
  ],
  [
    "I cannot answer right now, so a colleague will take over.",
    "Ich kann gerade nicht antworten, deshalb übernimmt ein Mensch.",
  ],
  ["You are next in line.", "Sie sind als Nächstes an der Reihe."],
  ["You are number # in line.", "Sie sind Nummer # in der Warteschlange."],
  ["They can see everything you have sent.", "Unser Team sieht alles, was Sie geschickt haben."],
  ["You can close this window and come back later.", "Sie können das Fenster schließen und später wiederkommen."],
]);

export const LANGUAGES = { en: ENGLISH, de: GERMAN };
const NOTICES = { de: GERMAN_NOTICES };

let language = "en";

/** Choose the first language we have texts for from a list of BCP 47 tags, else English. */
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
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? isolated(String(values[name])) : whole));
}

/** A name that is read from right to left must not carry the words around it along. */
function isolated(value) {
  return /[\u0590-\u08ff\u202a-\u202e\ufb1d-\ufdff\ufe70-\ufefc]/.test(value) ? `\u2068${value}\u2069` : value;
}

/** Translate a server notice sentence by sentence; unknown sentences stay in English. */
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

/** Fill in every element that names a text: data-text, data-label (aria-label), data-hint (placeholder). */
export function fillIn(root) {
  for (const element of root.querySelectorAll("[data-text]")) element.textContent = t(element.dataset.text);
  for (const element of root.querySelectorAll("[data-label]")) {
    element.setAttribute("aria-label", t(element.dataset.label));
    if (element.localName === "button") element.title = t(element.dataset.label);
  }
  for (const element of root.querySelectorAll("[data-hint]")) element.placeholder = t(element.dataset.hint);
}
