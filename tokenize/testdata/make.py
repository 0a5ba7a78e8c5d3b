#!/usr/bin/env python3
"""Makes cases.jsonl: small random tokenizers and what Hugging Face's library
does with random texts. Each line is {"tokenizer": tokenizer.json, "vectors":
[{"text", "ids", "mixed", "decoded", "skipped"}]}: ids with special tokens added,
mixed those or another order of them, and the text that mixed decodes to.

    make.py [SEED [COUNT]] > cases.jsonl
"""
import json
import random
import sys

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

SEED = int(sys.argv[1]) if len(sys.argv) > 1 else 7
COUNT = int(sys.argv[2]) if len(sys.argv) > 2 else 48
R = random.Random(SEED)

WORDS = """the quick builder wrote a small tokenizer and tested it on every text that nobody had seen before
naïve café élan übung straße señor привет мир слово γειά σου 世界 你好 日本語 カタカナ ひらがな 한국어 नमस्ते สวัสดี مرحبا
x1 42 2026 3.14 1,000 foo_bar() {return} if(x){ <tag> a+b=c it's we'll DON'T I'M they've""".split()
ODD = ["\u00a0", "\u3000", "\u2028", "\t", "\n", "\r\n", "  ", "   ", "\n\t\t}", "e\u0301", "\u1e9b\u0323", "ﬁ", "①", "½", "Ⅷ", "İ",
       "ſ", "K", "😀", "👩\u200d💻", "\u200b", "a\u0323\u0302", "각", "\u1100\u1161", "▁", "<", "[X]", "<s>", "</s>", "<a b>", "day", "Day",
       "'s", "'S", "\u0000", "\U0002ebf0", "\u1c89", "é", "É", "_", "«", "»", "—", "。", "!", "?", "..", "0x41", "<0x41>"]


def text():
    out = []
    for _ in range(R.randint(0, 14)):
        x = R.random()
        if x < .55:
            out.append(R.choice(WORDS))
        elif x < .9:
            out.append(R.choice(ODD))
        else:
            c = R.randint(0, R.choice([0x7F, 0x2FF, 0xFFFF, 0x1FFFF]))
            out.append("?" if 0xD800 <= c < 0xE000 else chr(c))
        out.append(R.choice(["", "", " ", " ", " ", "  "]))
    return "".join(out)


def corpus():
    return [" ".join(R.choice(WORDS) for _ in range(12)) for _ in range(300)]


BEHAVIORS = ["isolated", "removed", "merged_with_previous", "merged_with_next", "contiguous"]
PATTERNS = [
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",
    r"\w+|[^\w\s]+", r"\s+", r"\d", r"(?=\p{Lu})", r"[\p{L}\p{M}&&[^\p{Han}]]+|\p{Han}+", r"\h+", r"[一-龥぀-ゟ゠-ヿ]+",
    r"^.", r".$", r"(?<=a)b|c(?!d)",
]


def pre(depth=0):
    x = R.randint(0, 9 if depth else 11)
    if x <= 2:
        return pre_tokenizers.Split(Regex(R.choice(PATTERNS)), R.choice(BEHAVIORS), R.random() < .3)
    if x == 3:
        return pre_tokenizers.Split(R.choice([" ", "▁", "a", ".", "th"]), R.choice(BEHAVIORS), R.random() < .3)
    if x == 4:
        return pre_tokenizers.Digits(R.random() < .5)
    if x == 5:
        return pre_tokenizers.Punctuation(R.choice(BEHAVIORS))
    if x == 6:
        return pre_tokenizers.Metaspace("▁", R.choice(["always", "first", "never"]), R.random() < .5)
    if x == 7:
        return pre_tokenizers.Whitespace()
    if x == 8:
        return pre_tokenizers.WhitespaceSplit()
    if x == 9:
        return pre_tokenizers.BertPreTokenizer()
    return pre_tokenizers.Sequence([pre(1) for _ in range(R.randint(1, 3))])


def norm(depth=0):
    x = R.randint(0, 8 if depth else 11)
    if x <= 3:
        return getattr(normalizers, ["NFC", "NFD", "NFKC", "NFKD"][x])()
    if x == 4:
        return normalizers.Lowercase()
    if x == 5:
        return normalizers.Strip(R.random() < .5, R.random() < .5)
    if x == 6:
        return normalizers.Prepend(R.choice(["▁", " ", "x"]))
    if x == 7:
        return normalizers.Replace(R.choice([" ", "a", ".."]), R.choice(["▁", "", "bb"]))
    if x == 8:
        return normalizers.Replace(Regex(R.choice([r"\s+", r"\d", r"[^\w]"])), R.choice([" ", "#"]))
    return normalizers.Sequence([norm(1) for _ in range(R.randint(1, 3))])


def special():
    out = []
    for c in R.sample(["<s>", "</s>", "<a b>", "day", "Day", "[X]", "é", "the ", "wrote", "<sx", "▁x"], R.randint(0, 6)):
        out.append(AddedToken(c, single_word=R.random() < .3, lstrip=R.random() < .3, rstrip=R.random() < .3,
                              normalized=R.random() < .4, special=R.random() < .5))
    return out


def make():
    byte_level = R.random() < .5
    t = Tokenizer(models.BPE(
        unk_token=None if byte_level or R.random() < .3 else "<unk>", fuse_unk=R.random() < .5,
        byte_fallback=not byte_level and R.random() < .5, ignore_merges=R.random() < .2))
    if R.random() < .6:
        t.normalizer = norm()
    first = "<unk>"
    tokens = [first]
    if byte_level:
        last = pre_tokenizers.ByteLevel(add_prefix_space=R.random() < .3, use_regex=R.random() < .5)
        t.pre_tokenizer = R.choice([last, pre_tokenizers.Sequence([pre(1), last]), pre_tokenizers.Sequence([pre(1), pre(1), last])])
        t.decoder = decoders.ByteLevel()
    else:
        if R.random() < .7:
            t.pre_tokenizer = pre()
        tokens += ["<0x%02X>" % i for i in range(256)] if t.model.byte_fallback and R.random() < .8 else ["<0x41>"]
        t.decoder = R.choice([
            decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]),
            decoders.Metaspace("▁", R.choice(["always", "first", "never"]), True),
            decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace("▁", "always", True)]),
            decoders.Sequence([decoders.Replace(Regex("[▁_]"), " "), decoders.Fuse(), decoders.Strip(" ", 2, 0)]),
            decoders.Fuse()])
    full = R.random() < .7
    t.train_from_iterator(corpus(), trainers.BpeTrainer(
        vocab_size=len(tokens) + R.randint(150, 250) + (256 if byte_level and full else 0), special_tokens=tokens, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet() if byte_level and full else []))
    spec = json.loads(t.to_str())
    # The trainer lists its special tokens as added ones; here they are plain.
    spec["added_tokens"] = []
    t = Tokenizer.from_str(json.dumps(spec))
    for a in special():
        (t.add_special_tokens if a.special else t.add_tokens)([a])
    if t.token_to_id("<s>") is not None and R.random() < .7:
        t.post_processor = processors.TemplateProcessing(
            single=R.choice(["<s> $A", "<s> $A <s>", "$A <s>"]), special_tokens=[("<s>", t.token_to_id("<s>"))])
    # Both layouts of merges are in use.
    spec = json.loads(t.to_str())
    if R.random() < .5:
        merges = spec["model"]["merges"]
        if all(" " not in a + b for a, b in merges):
            spec["model"]["merges"] = [a + " " + b for a, b in merges]
    return spec


def main():
    for _ in range(COUNT):
        spec = make()
        t = Tokenizer.from_str(json.dumps(spec))
        vectors = []
        for _ in range(24):
            s = text()
            ids = t.encode(s).ids
            if R.random() < .3:
                R.shuffle(ids)
            vectors.append(dict(text=s, ids=t.encode(s).ids, mixed=ids, decoded=t.decode(ids, skip_special_tokens=False),
                                skipped=t.decode(ids, skip_special_tokens=True)))
        print(json.dumps(dict(tokenizer=spec, vectors=vectors), separators=(",", ":")))


main()
