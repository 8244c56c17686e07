// Light colouring of code: words of the language, text, numbers, comments. A line at a time, with what stays open at
// its end (a comment, a text over several lines) carried over, so that a growing listing is never coloured again.

const words = (list) => new Set(list.split(" "));

const C_LIKE = "if else for while do switch case default break continue return goto sizeof typedef struct union enum static const extern void int char float double long short unsigned signed bool true false";
const FAMILIES = {
  python: {
    names: "python py python3 pyi",
    words: words("and as assert async await break case class continue def del elif else except finally for from global if import in is lambda match nonlocal not or pass raise return try while with yield None True False self"),
    comment: ["#"], long: ['"""', "'''"],
  },
  script: {
    names: "javascript js jsx mjs typescript ts tsx",
    words: words("async await break case catch class const continue debugger default delete do else export extends finally for from function if implements import in instanceof interface let new of private public readonly return static super switch this throw try type typeof var void while yield null undefined true false"),
    comment: ["//"], block: ["/*", "*/"], long: ["`"],
  },
  c: {
    names: "c h cpp c++ cc hpp cuda objc",
    words: words(`${C_LIKE} auto class constexpr delete explicit friend inline namespace new noexcept nullptr operator override private protected public template this throw try catch typename using virtual include define ifdef ifndef endif pragma`),
    comment: ["//"], block: ["/*", "*/"],
  },
  java: {
    names: "java kotlin kt scala csharp cs c# swift dart groovy",
    words: words(`${C_LIKE} abstract async await class data extends final finally fun func guard implements import interface internal let namespace new null nil object override package private protected public record sealed self super this throw throws try catch using val var when where in is as`),
    comment: ["//"], block: ["/*", "*/"], long: ['"""'],
  },
  rust: {
    names: "rust rs",
    words: words("as async await break const continue crate dyn else enum extern false fn for if impl in let loop match mod move mut pub ref return self Self static struct super trait true type unsafe use where while"),
    comment: ["//"], block: ["/*", "*/"], quotes: '"',
  },
  go: {
    names: "go golang",
    words: words("break case chan const continue default defer else fallthrough for func go goto if import interface map package range return select struct switch type var nil true false"),
    comment: ["//"], block: ["/*", "*/"], long: ["`"],
  },
  shell: {
    names: "bash sh shell zsh console fish dockerfile docker makefile make",
    words: words("if then else elif fi for in do done while until case esac function return export local set unset cd echo sudo exit source FROM RUN COPY ADD CMD ENTRYPOINT ENV WORKDIR EXPOSE USER ARG"),
    comment: ["#"], before: /[\s;]/,
  },
  data: {
    names: "json jsonc json5 yaml yml toml ini",
    words: words("true false null yes no on off"),
    comment: ["#", "//"], before: /\s/, keys: true,
  },
  sql: {
    names: "sql sqlite postgresql mysql",
    words: words("select from where and or not in is null insert into values update set delete create table index view drop alter add primary key foreign references join left right inner outer full on group by order having limit offset union all distinct as case when then else end with exists between like asc desc default unique returning"),
    comment: ["--"], block: ["/*", "*/"], anyCase: true,
  },
  style: {
    names: "css scss less",
    words: words("important media supports import keyframes from to root hover focus not var calc"),
    comment: [], block: ["/*", "*/"], keys: true,
  },
  markup: {
    names: "html xml svg vue htm",
    words: new Set(), comment: [], block: ["<!--", "-->"], tags: true,
  },
  ruby: {
    names: "ruby rb lua elixir r julia perl php haskell hs",
    words: words("and begin break case class def do else elseif elsif end ensure false for foreach function if in local module new next nil not null or public private protected redo repeat require rescue return self super then true unless until use when where while yield let data import instance type"),
    comment: ["#", "--"], before: /\s/,
  },
};

const BY_NAME = new Map();
for (const family of Object.values(FAMILIES)) for (const name of family.names.split(" ")) BY_NAME.set(name, family);

const TOKEN = /[A-Za-z_$@][\w$-]*|\d[\w.]*|\s+|./gsu;

/** The language's name as people write it, "" if there is none. */
export function languageOf(info) {
  return info.trim().split(/[\s{,]/)[0].toLowerCase();
}

/**
 * A function from a line to its pieces [kind, text]; kind "" is plain. Call it with the lines in order.
 * `peek` true: the line may still grow, nothing is remembered.
 */
export function highlighter(language) {
  if (language === "diff" || language === "patch") return (line) => [[diffKind(line), line]];
  const family = BY_NAME.get(language);
  if (!family) return (line) => [["", line]];
  let open = null;
  return (line, peek = false) => {
    const [pieces, after] = colour(line, family, open);
    if (!peek) open = after;
    return pieces;
  };
}

function diffKind(line) {
  if (line.startsWith("@@")) return "number";
  return line.startsWith("+") ? "text" : line.startsWith("-") ? "word" : "";
}

// `open`: {end, kind} of what the lines before left open.
function colour(line, family, open) {
  const pieces = [];
  const say = (kind, text) => {
    const last = pieces[pieces.length - 1];
    if (last && last[0] === kind) last[1] += text;
    else if (text) pieces.push([kind, text]);
  };
  let at = 0;
  while (at < line.length) {
    if (open) {
      const end = line.indexOf(open.end, at);
      if (end < 0) {
        say(open.kind, line.slice(at));
        return [pieces, open];
      }
      say(open.kind, line.slice(at, end + open.end.length));
      at = end + open.end.length;
      open = null;
      continue;
    }
    const long = family.long?.find((mark) => line.startsWith(mark, at));
    const block = family.block && line.startsWith(family.block[0], at);
    if (long || block) {
      open = long ? { end: long, kind: "text" } : { end: family.block[1], kind: "comment" };
      const mark = long ?? family.block[0];
      say(open.kind, mark);
      at += mark.length;
      continue;
    }
    if (family.comment.some((mark) => line.startsWith(mark, at)) && (!family.before || at === 0 || family.before.test(line[at - 1]))) {
      say("comment", line.slice(at));
      break;
    }
    if ((family.quotes ?? "\"'").includes(line[at])) {
      const end = closing(line, at);
      const key = family.keys && /^\s*:/.test(line.slice(end, end + 20));
      say(key ? "word" : "text", line.slice(at, end));
      at = end;
      continue;
    }
    TOKEN.lastIndex = at;
    const token = TOKEN.exec(line)[0];
    say(kindOf(token, line, at, family), token);
    at += token.length;
  }
  return [pieces, open];
}

function kindOf(token, line, at, family) {
  if (/^\d/.test(token)) return "number";
  if (!/^[A-Za-z_$@]/.test(token)) return "";
  const next = line[at + token.length];
  if (family.tags) return /[</]/.test(line[at - 1] ?? "") ? "word" : next === "=" ? "name" : "";
  if (family.words.has(family.anyCase ? token.toLowerCase() : token)) return "word";
  if (family.keys && next === ":") return "word";
  return next === "(" || token[0] === "@" ? "name" : "";
}

// Behind the text that begins at `at`; an unclosed one ends with the line.
function closing(line, at) {
  for (let end = at + 1; end < line.length; end += 1) {
    if (line[end] === "\\") end += 1;
    else if (line[end] === line[at]) return end + 1;
  }
  return line.length;
}
