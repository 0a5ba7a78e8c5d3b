#!/usr/bin/env python3
"""Times Hugging Face tokenizers and tiktoken on text files, on one thread.

    compare_tokenizers.py TOKENIZER_DIR FILE...

prints MB of text per second of processor time for each. The benchmark
`go test ./tokenize -bench Files` prints ours for the same files: see there.
tiktoken is given the same vocabulary, from tokenizer.json.
"""
import json
import os
import resource
import sys

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"

import tiktoken
from tokenizers import Tokenizer


def byte_alphabet():
    """Maps the characters of byte-level vocabularies to bytes."""
    table, spare = {}, 256
    for b in range(256):
        if 33 <= b <= 126 or 161 <= b <= 172 or 174 <= b <= 255:
            table[chr(b)] = b
        else:
            table[chr(spare)] = b
            spare += 1
    return table


def as_tiktoken(spec):
    """The same byte-pair encoding for tiktoken, whose ranks are ids."""
    alphabet = byte_alphabet()
    ranks = {bytes(alphabet[c] for c in t): i for t, i in spec["model"]["vocab"].items()}
    pattern = spec["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"]
    return tiktoken.Encoding("same", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})


def cpu():
    u = resource.getrusage(resource.RUSAGE_SELF)
    return u.ru_utime + u.ru_stime


def best(f, text, size, rounds=4):
    """The best rate of several: other work on the machine only ever slows."""
    rate = 0
    for _ in range(rounds):
        start = cpu()
        f(text)
        rate = max(rate, size / 1e6 / (cpu() - start))
    return rate


def main():
    directory, *files = sys.argv[1:]
    path = os.path.join(directory, "tokenizer.json")
    with open(path, encoding="utf-8") as f:
        spec = json.load(f)
    hf, tt = Tokenizer.from_file(path), as_tiktoken(spec)
    for name in files:
        with open(name, encoding="utf-8", newline="") as f:
            text = f.read()
        size = len(text.encode())
        n = len(hf.encode(text, add_special_tokens=False).ids)
        a = best(lambda s: hf.encode(s, add_special_tokens=False), text, size)
        b = best(lambda s: hf.encode_batch_fast([s], add_special_tokens=False), text, size)
        c = best(tt.encode_ordinary, text, size)
        print(f"{os.path.basename(name):24} {n:8} tokens  tokenizers {a:6.2f} MB/s, encode_batch_fast {b:6.2f} MB/s, tiktoken {c:6.2f} MB/s")


if __name__ == "__main__":
    main()
