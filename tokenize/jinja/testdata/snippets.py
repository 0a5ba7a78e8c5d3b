"""Writes snippets.jsonl: small templates and what jinja2 makes of them, in the
environment that transformers compiles chat templates in. One JSON object a
line: src, and out or err (the exception's class). The variables every template
is given come first, on a line of their own.

    python snippets.py [-n RANDOM] [-seed SEED] [-o FILE]

Below the ones written by hand come RANDOM generated ones.
"""

import argparse
import json
import random

from transformers.utils.chat_template_utils import _cached_compile_jinja_template as compile_template

VARS = {
    "x": 5, "neg": -7, "zero": 0, "f": 2.5, "tiny": 1e-07, "huge": 1e22, "big": 12345678901234567890123,
    "s": "Hello World", "empty": "", "u": "héllo ✓ ß Straße", "sp": "  a b\t c \n", "html": "<b>&'\"</b>",
    "lines": "one\ntwo\r\n\nthree\n", "q": "it's \"so\"\\\n\t\x01é", "num": "42", "csv": "a,b,,c",
    "l": [3, 1, 2], "e": [], "mixed": [1, "a", None, True, 2.0, [1], {"k": "v"}], "strs": ["b", "A", "c", "a", "B"],
    "d": {"b": 2, "a": 1, "C": 3}, "deep": {"k": [1, 2, {"z": None}], "items": "shadow", "n": {"m": {"o": "end"}}},
    "n": None, "t": True, "no": False,
    "msgs": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]},
        {"role": "tool", "content": "4", "name": "f"},
        {"role": "assistant", "content": "It is 4."},
    ],
    "people": [{"name": "Zoe", "age": 3, "city": "b"}, {"name": "adam", "age": 1, "city": "A"},
               {"name": "Bob", "age": 2, "city": "B"}, {"name": "eve", "age": 1}],
}

# One template per block; blocks are separated by a line of four dashes, so that
# whitespace inside them is exact. The newline before the dashes is not part.
TEXT = open(__file__.replace("snippets.py", "snippets.txt"), encoding="utf-8", newline="").read()


def expressions():
    for line in open(__file__.replace("snippets.py", "expressions.txt"), encoding="utf-8", newline=""):
        line = line.rstrip("\n")
        if line and not line.startswith("## "):
            yield "{{ " + line + " }}"


class Random:
    """Random expressions and templates, most of which mean something."""

    def __init__(self, seed):
        self.r = random.Random(seed)

    def pick(self, *xs):
        x = self.r.choice(xs)
        return x() if callable(x) else x

    def atom(self):
        return self.pick(
            "1", "0", "-2", "3", "2.5", "'a'", "'ab c'", "''", "[]", "[1, 2, 3]", "{}", "{'a': 1}", "none", "true", "false",
            "(1, 2)", "()", "x", "neg", "f", "s", "u", "l", "e", "d", "n", "t", "strs", "mixed", "msgs", "undef", "deep",
            "range(3)", "d.items()", "num", "html", "sp", "'%s'", "[[1, 2], [3, 4]]")

    def expr(self, depth=3):
        if depth == 0:
            return self.atom()
        e = lambda: self.expr(depth - 1)
        op = lambda *ops: lambda: f"{e()} {self.r.choice(ops)} {e()}"
        return self.pick(
            self.atom, self.atom,
            op("+", "-", "*", "/", "//", "%", "~"), op("==", "!=", "<", "<=", ">", ">="), op("and", "or"),
            op("in", "not in"), lambda: f"not {e()}", lambda: f"-{e()}", lambda: f"({e()})",
            lambda: f"({e()} if {e()} else {e()})", lambda: f"({e()} if {e()})",
            lambda: f"[{e()}, {e()}]", lambda: f"{{'k': {e()}}}",
            lambda: f"({e()})[{e()}]", lambda: f"{self.sliced(e)}[{self.bound()}:{self.bound()}]",
            lambda: f"{self.sliced(e)}[{self.bound()}:{self.bound()}:{self.bound()}]",
            lambda: f"({e()}).{self.pick('a', 'k', 'role', 'content', 'items', 'upper', 'x')}",
            lambda: f"({e()})|{self.filter(depth)}", lambda: f"({e()})|{self.filter(depth)}",
            lambda: f"({e()}) is {self.pick('', 'not ')}{self.test(depth)}",
            lambda: f"({e()}).{self.method(depth)}",
        )

    def sliced(self, e):
        # Not constants of other types: folding those, jinja2 makes them undefined instead of failing.
        return self.pick("s", "u", "l", "strs", "msgs", "x", "d", "undef", "'abc'", lambda: f"({e()}|list)", lambda: f"({e()}|string)")

    def bound(self):
        return self.pick("", "0", "1", "2", "-1", "-2", "5")

    def filter(self, depth):
        e = lambda: self.expr(depth - 1)
        return self.pick(
            "upper", "lower", "title", "capitalize", "trim", "length", "string", "list", "first", "last", "reverse|list",
            "tojson", "int", "float", "abs", "sort", "unique|list", "join", "join(', ')", "sum", "min", "max", "items|list",
            "dictsort", "round", "default('D')", "default('D', true)", "e", "safe", "count", "indent", "wordcount",
            "tojson(indent=2)", "tojson(sort_keys=true)", "replace('a', 'bb')", "map('string')|list", "map(attribute='role')|list",
            "selectattr('role')|list", "select|list", "reject|list", "selectattr('role', 'equalto', 'user')|list",
            "rejectattr('role', 'defined')|list", "batch(2)|list", "slice(2)|list", "truncate(5)", "center(9)", "attr('upper')",
            "map('upper')|join('-')", "select('string')|list", "select('in', [1, 'a'])|list", "groupby('role')|list|length",
            lambda: f"default({e()})", lambda: f"join({e()})", lambda: f"replace({e()}, 'z')", lambda: f"sum(start={e()})")

    def test(self, depth):
        return self.pick(
            "defined", "undefined", "none", "string", "number", "mapping", "sequence", "iterable", "true", "false", "boolean",
            "integer", "float", "odd", "even", "lower", "upper", "callable", "divisibleby(2)", "divisibleby 3",
            lambda: f"eq({self.expr(depth - 1)})", lambda: f"in({self.expr(depth - 1)})", lambda: f"sameas({self.atom()})",
            lambda: f"lt({self.expr(depth - 1)})", "escaped", "filter", "test")

    def method(self, depth):
        e = lambda: self.expr(depth - 1)
        return self.pick(
            "upper()", "lower()", "strip()", "lstrip()", "rstrip('d')", "split()", "split(' ')", "split('l', 1)", "rsplit(' ', 1)",
            "title()", "capitalize()", "items()|list", "keys()|list", "values()|list", "get('a')", "get('z', 0)", "splitlines()",
            "startswith('H')", "endswith('d')", "find('l')", "count('l')", "index('l')", "replace('l', 'L')", "join(['x', 'y'])",
            "partition(' ')", "isdigit()", "zfill(5)", "center(7, '*')", "format(1, k=2)", "copy()", "append(1)", "a.b",
            lambda: f"startswith({e()})", lambda: f"split({e()})", lambda: f"get({e()})", lambda: f"index({e()})")

    def body(self, depth):
        return "".join(self.stmt(depth) for _ in range(self.r.randint(1, 3)))

    def tag(self, s):
        return "{%" + self.pick("", "", "-", "+") + " " + s + " " + self.pick("", "", "-", "+") + "%}"

    def space(self):
        return self.pick("", "", " ", "\n", "  \n", "\n  ", "text", "a\n b", "\t")

    def stmt(self, depth):
        name = lambda: self.r.choice(["x", "y", "z", "s", "m"])
        b = lambda: self.body(depth - 1)
        sp, tag = self.space, self.tag
        simple = [
            lambda: sp() + "{{" + self.pick("", "", "-") + " " + self.pick(name, lambda: self.expr(1), "ns.v", "loop.index") + " " + self.pick("", "-") + "}}",
            lambda: sp() + tag(f"set {name()} = {self.expr(1)}"),
            lambda: sp() + tag(f"set ns.v = {self.pick('ns.v ~ 1', 'x', name)}"),
            lambda: sp() + "{#" + self.pick("", "-", "+") + " c " + self.pick("", "-", "+") + "#}",
            sp,
        ]
        if depth == 0:
            return self.pick(*simple)
        return self.pick(
            *simple,
            lambda: sp() + tag(f"if {self.pick(name, lambda: self.expr(1))}") + b() + self.pick("", lambda: tag(f"elif {name()}") + b())
            + self.pick("", lambda: tag("else") + b()) + tag("endif"),
            lambda: sp() + tag(f"for {name()} in {self.pick('l', '[1, 2]', 'e', 'strs', 'd', name)}"
                               f"{self.pick('', '', lambda: f' if {name()}')}")
            + b() + self.pick("", "", lambda: tag("break"), lambda: tag(f"if loop.first") + tag("continue") + tag("endif") + b())
            + self.pick("", lambda: tag("else") + b()) + tag("endfor"),
            lambda: sp() + tag(f"for {name()} in l") + "{{ loop." + self.pick("index", "first", "last", "revindex0", "length", "previtem", "nextitem", "depth", "changed(x)", "cycle('a', 'b')") + " }}" + b() + tag("endfor"),
            lambda: sp() + tag(f"set {name()}" + self.pick("", " | upper", " | trim")) + b() + tag("endset"),
            lambda: sp() + tag(f"macro m({self.pick('', 'x', 'x, y=x', 'y=1, z=s')})") + b() + self.pick("", "{{ caller() if caller }}") + tag("endmacro"),
            lambda: sp() + "{{ m(" + self.pick("", "1", "1, 2", "y=3", "x=s") + ") }}",
            lambda: sp() + tag("call m()") + b() + tag("endcall"),
            lambda: sp() + tag("filter " + self.pick("upper", "trim", "replace('a', x|string)", "indent")) + b() + tag("endfilter"),
            lambda: sp() + tag(f"with {name()} = {self.pick(name, '1')}") + b() + tag("endwith"),
            lambda: sp() + tag("generation") + b() + tag("endgeneration"),
        )

    def template(self):
        if self.r.random() < 0.5:
            return "{{ " + self.expr(self.r.randint(1, 3)) + " }}"
        return "{% set ns = namespace(v='') %}" + self.body(3)


# str() of these is not ours to repeat (addresses, unordered text of errors).
SKIP = ("object at 0x", "<built-in", "<bound method", "<function", "<generator", "<class", "<list_", "<dict_", "<reversed",
        "TemplateDict", "iterator object", "/tmp", "method_descriptor")


def run(src):
    try:
        out = compile_template(src).render(**json.loads(json.dumps(VARS)))
    except RecursionError:
        return {"src": src, "err": "RecursionError"}
    except Exception as e:
        return {"src": src, "err": type(e).__name__}
    if any(s in out for s in SKIP) or len(out) > 2000:
        return None
    return {"src": src, "out": out}


def main():
    p = argparse.ArgumentParser()
    p.add_argument("-n", type=int, default=1500)
    p.add_argument("-seed", type=int, default=1)
    p.add_argument("-o", default=__file__.replace(".py", ".jsonl"))
    a = p.parse_args()
    srcs = list(expressions()) + TEXT.removesuffix("\n").split("\n----\n")
    gen = Random(a.seed)
    srcs += [gen.template() for _ in range(a.n)]
    with open(a.o, "w", encoding="utf-8") as f:
        f.write(json.dumps(VARS, ensure_ascii=False) + "\n")
        seen = set()
        for src in srcs:
            if src in seen:
                continue
            seen.add(src)
            case = run(src)
            if case:
                f.write(json.dumps(case, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
