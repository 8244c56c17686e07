// DOMPurify, which checks nodes in place: an answer may have these elements and attributes, no others.
import "./vendor/purify.min.js";

const TAGS = "p h3 h4 h5 h6 ul ol li blockquote hr div table thead tbody tr th td span a em strong del code br";
const MATHML =
  "math annotation menclose merror mfrac mi mlabeledtr mmultiscripts mn mo mover mpadded mphantom mroot mrow ms mspace " +
  "msqrt mstyle msub msubsup msup mtable mtd mtext mtr munder munderover semantics";
const ATTRIBUTES = (
  "class start tabindex role target rel accent accentunder columnalign columnlines columnspacing depth display " +
  "displaystyle encoding fence height linebreak linethickness lspace mathbackground mathcolor mathsize mathvariant " +
  "maxsize minsize movablelimits notation rowlines rowspacing rspace scriptlevel separator side stretchy symmetric " +
  "voffset width xmlns"
).split(" ");

globalThis.DOMPurify.setConfig({
  IN_PLACE: true,
  TRUSTED_TYPES_POLICY: null, // the page's policy allows none; nodes need none
  ALLOWED_TAGS: `#text ${TAGS} ${MATHML}`.split(" "),
  ALLOWED_ATTR: ["href", ...ATTRIBUTES],
  ALLOW_DATA_ATTR: false,
  ADD_URI_SAFE_ATTR: ATTRIBUTES, // no addresses: the pattern below is for href alone
  ALLOWED_URI_REGEXP: /^(?:https?:|mailto:)/i,
});

/** The same element without what is not allowed. Pass many nodes at once: a call costs more than a node. */
export function purified(node) {
  return globalThis.DOMPurify.sanitize(node);
}
