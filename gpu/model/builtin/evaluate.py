"""Measures a checkpoint on prompts that training never saw, with its own generation defaults.

    python evaluate.py [--show] [DIRECTORY] [SEED]

Subjects come from the held-out nouns and adjectives of words.py, and some requests are phrased as no request in
generate.py is. Correct English means: in the system's word lists (Debian: wamerican, wbritish) or in words.py.
"""

import os
import random
import re
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import generate
import words
from stories import ADJ, ANIMALS, EVAL, KINDS, a, cap
from words import *

HERE = os.path.dirname(os.path.abspath(__file__))
PHRASES = ["Let me hear a story about {}.", "I'd love a story about {}!", "Could you write me a story about {}?", "My daughter wants a story about {}.",
           "Please invent a story about {}.", "How about a story of {}?"]
SUMS = ["What do you get for {} {} {}?", "Please work out {} {} {}.", "Tell me what {} {} {} makes."]
OTHER = [  # a request phrased as none in training, and a pattern that a good answer matches
    ("Hello, nice to meet you!", r"Hello|Hi|fine|well|nice|welcome|glad|thank"), ("Hey, who are you exactly?", r"model|Troupe"), ("And what might your name be?", r"model|Troupe|name"),
    ("So what are you able to do?", r"stor"), ("Tell me what you cannot do.", r"cannot|small"), ("Are you a human being?", r"program|model"), ("Thanks for your help!", r"welcome|pleasure"),
    ("Bye for now!", r"[Gg]oodbye"), ("Which day comes right after Tuesday?", r"Wednesday"), ("Which day comes right before Sunday?", r"Saturday"),
    ("Please tell me the opposite of tall.", r"short"), ("What would be the opposite of hot?", r"cold"), ("What colour is the grass?", r"green"),
    ("And what colour is snow?", r"white"), ("Please explain what a lighthouse is.", r"tower"), ("I wonder what a robot is.", r"machine"),
    ("Please count up to five.", r"1, 2, 3, 4, 5\.|[Oo]ne, two, three, four, five\."), ("Tell me the capital of France.", r"Paris"),
    ("Write a Haskell program that parses JSON.", r"small|sorry|do not|cannot"), ("Who won the election in 1996?", r"small|sorry|do not|cannot"),
    ("Translate 'the cat is asleep' into Dutch.", r"small|sorry|do not|cannot"), ("Explain general relativity in detail.", r"small|sorry|do not|cannot"),
    ("Why is the economy slowing down?", r"small|sorry|do not|cannot"), ("What is 450 times 12?", r"only|hard|small|sorry"), ("My name is Agatha. What is my name?", r"Agatha"),
]


def prompts(r):
    """200 prompts: (kind, messages or a pair to be asked in turn, what the answer must match)."""
    out = []
    plain = [w for k in KINDS.values() for w in k if " " not in w]
    for i in range(100):  # the plain request, for subjects that training never had
        noun = EVAL_NOUNS[i % len(EVAL_NOUNS)]
        if i < 40:
            s = noun
        elif i < 60:
            s = r.choice(EVAL_ADJECTIVES) + " " + noun
        elif i < 80:
            s = r.choice(ADJ) + " " + noun
        else:
            s = r.choice(EVAL_ADJECTIVES) + " " + r.choice(plain)
        out.append(("story", f"Tell me a story about {a(s)}.", s))
    for i in range(30):
        s = r.choice([r.choice(EVAL_ADJECTIVES) + " ", r.choice(ADJ) + " ", ""]) + r.choice(EVAL_NOUNS + plain)
        out.append(("story, other words", r.choice(PHRASES).format(a(s)), s))
    for i in range(20):
        s = r.choice(EVAL_ADJECTIVES) + " " + r.choice(EVAL_NOUNS + ANIMALS)
        out.append(("question", f"Tell me a story about {a(s)}.", s))
    for i in range(25):
        plus = i % 2 == 0
        c = r.randint(2, 20)
        y = r.randint(1, c)
        x, res = (c - y, c) if plus else (c, c - y)
        op = r.choice(["+", "plus"] if plus else ["-", "minus"])
        out.append(("arithmetic", r.choice(SUMS).format(x, op, y), rf"\b{res}\.$"))
    out += [("other", q, p) for q, p in OTHER]
    return out


def known_words():
    out = set()
    for f in ("american-english", "british-english"):
        p = os.path.join("/usr/share/dict", f)
        if not os.path.exists(p):
            sys.exit(f"{p} is missing: apt-get install wamerican wbritish")
        out |= {w.strip().lower() for w in open(p)}
    for v in vars(words).values():
        out |= set(re.findall(r"[a-z]+", repr(v).lower())) if isinstance(v, (list, dict)) else set()
    return out | {"troupe", "agatha"}


class Model:
    def __init__(self, path):
        self.tok = AutoTokenizer.from_pretrained(path, padding_side="left")
        self.net = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
        self.stops = set(self.net.generation_config.eos_token_id)

    def answer(self, chats, size=52):
        """Replies to lists of messages, and whether each ended by itself."""
        out = []
        for i in range(0, len(chats), size):
            text = [self.tok.apply_chat_template(c, tokenize=False, add_generation_prompt=True) for c in chats[i:i + size]]
            x = self.tok(text, return_tensors="pt", padding=True, add_special_tokens=False)
            with torch.no_grad():
                y = self.net.generate(input_ids=x["input_ids"], attention_mask=x["attention_mask"], max_new_tokens=300)
            for row in y[:, x["input_ids"].shape[1]:].tolist():
                end = next((j for j, t in enumerate(row) if t in self.stops), None)
                out.append((self.tok.decode(row[:end], skip_special_tokens=True), end is not None))
        return out


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


def main():
    args = [x for x in sys.argv[1:] if x != "--show"]
    show = "--show" in sys.argv
    torch.set_num_threads(1)
    seed = int(args[1]) if len(args) > 1 else 0
    torch.manual_seed(seed)
    model = Model(args[0] if args else os.path.join(HERE, "checkpoint"))
    r = random.Random(seed)
    ps = prompts(r)
    assert len(ps) == 200
    replies = model.answer([[user(q)] for _, q, _ in ps])
    score = {}

    def count(kind, ok):
        n = score.setdefault(kind, [0, 0])
        n[0], n[1] = n[0] + bool(ok), n[1] + 1
        return ok

    know, unknown, asked = known_words(), [], []
    for (kind, q, want), (text, ended) in zip(ps, replies):
        if kind in ("story", "story, other words", "question"):
            ok = count("mentions the subject: " + ("other words" if "," in kind else "plain request"), re.search(r"\b" + re.escape(want) + r"\b", text))
            count("mentions the noun", re.search(r"\b" + re.escape(want.split()[-1]) + r"\b", text))
        else:
            ok = count(kind, re.search(want, text))
        count("ends by itself", ended)
        for w in re.findall(r"[A-Za-z]+", text):
            if not count("words known", w.lower() in know):
                unknown.append(w)
        if show or not ok:
            print("  " if ok else "! ", kind, "|", q, "|", text)
        if kind == "question":
            asked.append((q, text, want))
    follow = [[user(q), assistant(t), user("What was the story about?")] for q, t, _ in asked]
    for (_, _, s), (text, _) in zip(asked, model.answer(follow)):
        if not count("story question: about", re.search(re.escape(s), text)):
            print("!  about", s, "|", text)
    # Questions on stories of the generator, about subjects that are held out.
    chats, wants = [], []
    rr = random.Random(seed + 7)
    from stories import Subject, questions, story
    while len(chats) < 100:
        s = Subject(rr)
        if s.kind in ("theme", "name", "mine") or s.tail:
            continue
        s.phrase = rr.choice(EVAL_ADJECTIVES) + " " + s.noun
        t, f, _ = story(rr, s)
        q, ans = questions(rr, f)
        chats.append([user(f"Tell me a story about {s.asked()}."), assistant(t), user(q)])
        keys = [v for v in f.values() if v and v in ans] or ["not|does not say"]
        wants.append(max(keys, key=len))
    for c, want, (text, _) in zip(chats, wants, model.answer(chats)):
        if not count("story question: any", re.search(want, text)) and show:
            print("! ", c[1]["content"], "|", c[2]["content"], "|", text)
    # Every sum and difference up to twenty.
    chats, wants = [], []
    for c in range(21):
        for y in range(c + 1):
            for e, res in ((f"{c - y} + {y}", c), (f"{c} - {y}", c - y)):
                chats.append([user(f"What is {e}?")])
                wants.append(rf"\b{res}\.$")
    for c, want, (text, _) in zip(chats, wants, model.answer(chats, 154)):
        count("sums up to twenty", re.search(want, text))
    for k, (n, m) in score.items():
        print(f"{k:45} {n:6}/{m:<6} {100 * n / m:.1f}%")
    print("unknown words:", " ".join(unknown))


if __name__ == "__main__":
    main()
