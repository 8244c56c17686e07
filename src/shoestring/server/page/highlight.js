// Colours of code: highlight.js finds the language's words; its tree of tokens becomes lines of pieces.
import hljs from "./vendor/highlight.min.js";
import dart from "./vendor/dart.min.js";
import dockerfile from "./vendor/dockerfile.min.js";
import elixir from "./vendor/elixir.min.js";
import haskell from "./vendor/haskell.min.js";
import julia from "./vendor/julia.min.js";
import powershell from "./vendor/powershell.min.js";
import scala from "./vendor/scala.min.js";

for (const [name, grammar] of Object.entries({ dart, dockerfile, elixir, haskell, julia, powershell, scala }))
  hljs.registerLanguage(name, grammar);
hljs.registerAliases(["cuda", "glsl"], { languageName: "cpp" });
hljs.registerAliases(["fish"], { languageName: "bash" });
hljs.registerAliases(["groovy"], { languageName: "java" });
hljs.registerAliases(["vue"], { languageName: "xml" });
hljs.registerAliases(["patch"], { languageName: "diff" });

// highlight.js's scopes by the page's five colours. Other scopes have the colour of the scope around them.
const KINDS = {
  comment: "comment quote doctag",
  text: "string regexp char code addition link",
  number: "number symbol bullet meta",
  word: "keyword literal selector-tag name section deletion",
  name: "title built_in type attr attribute variable template-variable selector-class selector-id selector-pseudo property",
  "": "subst",
};
const KIND_OF = new Map(Object.entries(KINDS).flatMap(([kind, scopes]) => scopes.split(" ").map((scope) => [scope, kind])));
/** Longer texts stay plain, and so do texts that are nested too deep. */
const LONGEST = 200_000;

/** The language's name as people write it, "" if there is none. */
export function languageOf(info) {
  return info.trim().split(/[\s{,]/)[0].toLowerCase();
}

/**
 * `lines`: each line as pieces [kind, text]; kind "" is plain. `atTop`: whether the text ends at the language's top level,
 * so that what follows can be coloured on its own.
 */
export function highlight(lines, language) {
  const text = lines.join("\n");
  try {
    if (text.length <= LONGEST && hljs.getLanguage(language)) {
      const result = hljs.highlight(text, { language, ignoreIllegals: true });
      return { lines: split(result._emitter.rootNode), atTop: !result._top.parent };
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error; // nested too deep for the stack
  }
  return { lines: lines.map((line) => [["", line]]), atTop: true };
}

function split(root) {
  const lines = [[]];
  const say = (kind, text) => {
    const pieces = lines[lines.length - 1];
    const last = pieces[pieces.length - 1];
    if (last?.[0] === kind) last[1] += text;
    else if (text) pieces.push([kind, text]);
  };
  const walk = (node, kind) => {
    if (typeof node !== "string") {
      const own = KIND_OF.get(node.scope?.split(".")[0]) ?? kind;
      for (const child of node.children) walk(child, own);
      return;
    }
    node.split("\n").forEach((text, index) => {
      if (index > 0) lines.push([]);
      say(kind, text);
    });
  };
  walk(root, "");
  return lines;
}
