#!/usr/bin/env python3
"""Time other grammar engines on what BenchmarkMask times: all masks of one text.

    bench/compare_grammars.py TOKENIZER_DIR
    bench/compare_grammars.py --schemas DIR

With --schemas, count instead which schemas of MaskBench's directory DIR they
take, and of the values there which they let through, over single bytes.
Needs llguidance, and xgrammar and transformers for the second; those that are
not installed are left out. One thread each. Processor time, of the best round:
the first one on a newly compiled grammar (cold), and the best later one (kept).
"""

import json
import multiprocessing
import pathlib
import sys
import time

SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 60},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "email": {"type": "string", "format": "email"},
        "tags": {"type": "array", "items": {"enum": ["a", "b", "c"]}, "maxItems": 5},
        "address": {"$ref": "#/$defs/address"},
    },
    "required": ["name", "age", "email", "tags", "address"],
    "additionalProperties": False,
    "$defs": {
        "address": {
            "type": "object",
            "properties": {
                "street": {"type": "string"},
                "city": {"type": "string"},
                "zip": {"type": "string", "pattern": "^[0-9]{5}$"},
            },
            "required": ["street", "city"],
            "additionalProperties": False,
        }
    },
}
PERSON = '{"name": "Ada Lovelace", "age": 36, "email": "ada@example.org", "tags": ["a", "c"], "address": {"street": "12 St James\'s Square \\"north\\"", "city": "London, Großbritannien 日本", "zip": "12345"}}'
OBJECT = '{"name": "Ada Lovelace", "born": 1815, "works": [{"title": "Notes on the \\"Analytical Engine\\"", "pages": 66.5}, {"title": "Letters\\n", "lost": true}], "nested": {"a": {"b": {"c": [1, 2, [3, null]]}}}}'
VOCAB = 151_936
ROUNDS = 20


def cases():
    yield "person", SCHEMA, PERSON
    yield "object", {"type": "object"}, OBJECT


def report(engine, name, masks, compile_ms, cold, kept):
    print(f"{engine:12} {name:8} {masks:3} masks  compile {compile_ms:7.2f} ms  cold {cold / masks * 1e6:7.1f} µs a mask  kept {kept / masks * 1e6:7.1f} µs")


def rounds(engine, name, make, run, masks):
    """make() compiles and returns what run() goes through the text with."""
    compiles, colds, kepts = [], [], []
    for _ in range(ROUNDS):
        began = time.process_time()
        grammar = make()
        compiles.append(time.process_time() - began)
        for times in (colds, kepts, kepts):
            began = time.process_time()
            run(grammar)
            times.append(time.process_time() - began)
    report(engine, name, masks, min(compiles) * 1e3, min(colds), min(kepts))


def llguidance_rounds(path):
    import llguidance

    tokenizer = llguidance.LLTokenizer(path + "/tokenizer.json", n_vocab=VOCAB)
    for name, schema, text in cases():
        ids = tokenizer.tokenize_str(text)

        def run(grammar):
            matcher = llguidance.LLMatcher(tokenizer, grammar)
            for token in ids:
                matcher.compute_bitmask()
                assert matcher.consume_token(token), matcher.get_error()
            matcher.compute_bitmask()
            assert matcher.is_accepting()

        rounds("llguidance", name, lambda: llguidance.LLMatcher.grammar_from_json_schema(json.dumps(schema)), run, len(ids) + 1)


def xgrammar_rounds(path):
    import xgrammar
    from transformers import PreTrainedTokenizerFast

    hf = PreTrainedTokenizerFast(tokenizer_file=path + "/tokenizer.json")
    info = xgrammar.TokenizerInfo.from_huggingface(hf, vocab_size=VOCAB, stop_token_ids=[151645])
    bitmask = xgrammar.allocate_token_bitmask(1, VOCAB)
    for name, schema, text in cases():
        ids = hf.encode(text, add_special_tokens=False)

        def make():
            compiler = xgrammar.GrammarCompiler(info, max_threads=1, cache_enabled=False)
            return compiler.compile_json_schema(json.dumps(schema), strict_mode=name == "person")

        def run(grammar):
            matcher = xgrammar.GrammarMatcher(grammar)
            for token in ids:
                matcher.fill_next_token_bitmask(bitmask)
                assert matcher.accept_token(token), (name, hf.decode([token]))
            matcher.fill_next_token_bitmask(bitmask)

        rounds("xgrammar", name, make, run, len(ids) + 1)


def llguidance_takes():
    import llguidance

    tokenizer = llguidance.LLTokenizer("byte")

    def compiled(schema):
        grammar = llguidance.LLMatcher.grammar_from_json_schema(schema)
        first = llguidance.LLMatcher(tokenizer, grammar)
        if first.is_error():
            raise ValueError(first.get_error())

        def takes(text):
            matcher = llguidance.LLMatcher(tokenizer, grammar)
            ids = tokenizer.tokenize_bytes(text)
            return matcher.try_consume_tokens(ids) == len(ids) and matcher.is_accepting()

        return takes

    return compiled


def xgrammar_takes():
    import xgrammar

    end = 256
    info = xgrammar.TokenizerInfo([bytes([i]) for i in range(end)] + [b"<eos>"], vocab_type=xgrammar.VocabType.RAW, stop_token_ids=[end])

    def compiled(schema):
        compiler = xgrammar.GrammarCompiler(info, max_threads=1, cache_enabled=False)
        grammar = compiler.compile_json_schema(schema, strict_mode=False)

        def takes(text):
            matcher = xgrammar.GrammarMatcher(grammar)
            return matcher.accept_string(text) and matcher.accept_token(end)

        return takes

    return compiled


def begin(engine):
    global compiled
    compiled = engine()


def examine(path):
    """How often a schema's values were let through, by whether they are valid."""
    case = json.loads(path.read_text())
    try:
        takes = compiled(json.dumps(case["schema"], ensure_ascii=False))
    except Exception:  # whatever it says, it does not take the schema
        return None
    counts = {True: [0, 0], False: [0, 0]}
    for test in case["tests"]:
        let = takes(json.dumps(test["data"], ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace"))
        counts[test["valid"]][bool(let)] += 1
    return counts


def count(engine, directory, limit=20):
    """Prints what an engine takes; it has limit seconds a schema."""
    files = sorted(pathlib.Path(directory).glob("*.json"))
    new = lambda: multiprocessing.Pool(1, begin, (engine,))
    pool, taken, total = new(), 0, {True: [0, 0], False: [0, 0]}
    for path in files:
        try:
            counts = pool.apply_async(examine, (path,)).get(limit)
        except multiprocessing.TimeoutError:
            pool.terminate()
            pool, counts = new(), None
        if counts:
            taken += 1
            for valid, (out, let) in counts.items():
                total[valid] = [total[valid][0] + out, total[valid][1] + let]
    pool.terminate()
    valid, other = total[True], total[False]
    print(f"{engine.__name__[:-6]:12} {taken} of {len(files)} schemas; of their values {valid[1]} of {sum(valid)} valid ones and {other[1]} of {sum(other)} others")


def main():
    counting = len(sys.argv) > 2 and sys.argv[1] == "--schemas"
    for engine in (llguidance_takes, xgrammar_takes) if counting else (llguidance_rounds, xgrammar_rounds):
        try:
            if counting:
                engine()
                count(engine, sys.argv[2])
            else:
                engine(sys.argv[1])
        except ImportError as e:
            print(f"{engine.__name__}: left out: {e}", file=sys.stderr)


if __name__ == "__main__":
    main()
