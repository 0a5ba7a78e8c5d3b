"""Trains the built-in model on what generate.py writes and exports a Hugging Face checkpoint.

    python train.py tokenizer                     writes checkpoint/tokenizer.json and tokenizer_config.json
    python train.py train STATE MINUTES [PEAK [DRILLS]]   trains for so long, from STATE if it exists, saving to it every few
                                                  minutes; PEAK scales the learning rate, DRILLS is their share in the first fifth
    python train.py average OUT STATE:WEIGHT…     writes the weighted mean of states to OUT
    python train.py export STATE DIRECTORY        writes the bfloat16 checkpoint to DIRECTORY

Needs torch, transformers, tokenizers and safetensors. A GPU is used where there is one, with the other cores writing
text for it; else one thread of a CPU with AVX-512 BF16 is enough.
"""

import json
import math
import multiprocessing
import os
import random
import re
import shutil
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

import generate

HERE = os.path.dirname(os.path.abspath(__file__))
TOKENIZER = os.path.join(HERE, "checkpoint", "tokenizer.json")
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
CONFIG = dict(vocab_size=4096, hidden_size=256, num_hidden_layers=6, intermediate_size=512, num_attention_heads=4, num_key_value_heads=2,
              head_dim=64, max_position_embeddings=2048, rms_norm_eps=1e-6, rope_theta=10000.0)
GPU = torch.cuda.is_available()
ROW, ROWS = 512, 64 if GPU else 4  # tokens a row, rows a step
TARGETS = 352 * ROWS  # a step
DRILLS = 0.04  # of the rows' contents, in the end
IGNORE = -100


def make_tokenizer():
    """A byte-level BPE over generated text, split as Qwen2 splits."""
    r = random.Random(1)
    tok = Tokenizer(models.BPE())
    tok.normalizer = normalizers.NFC()
    pattern = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    tok.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"),
                                                 pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tok.decoder = decoders.ByteLevel()

    def text():
        for _ in range(60000):
            for role, t in generate.conversation(r):
                yield role + "\n"
                yield t

    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tok.train_from_iterator(text(), trainers.BpeTrainer(vocab_size=CONFIG["vocab_size"] - len(SPECIAL), initial_alphabet=alphabet, show_progress=False))
    tok.add_special_tokens([AddedToken(s, normalized=False, special=True) for s in SPECIAL])
    assert tok.get_vocab_size() == CONFIG["vocab_size"], tok.get_vocab_size()
    tok.save(TOKENIZER)
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast", "add_bos_token": False, "bos_token": None, "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>",
        "unk_token": None, "clean_up_tokenization_spaces": False, "model_max_length": CONFIG["max_position_embeddings"],
        "added_tokens_decoder": {str(tok.token_to_id(s)): {"content": s, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False,
                                                           "special": True} for s in SPECIAL},
    }
    with open(os.path.join(HERE, "checkpoint", "tokenizer_config.json"), "w") as f:
        json.dump(config, f, indent=2)
        f.write("\n")


PIECES = {}  # of the tokenizer: tokens that begin a word with a vowel or a consonant, and tokens that go on


def pieces(tok):
    if not PIECES:
        words = [(t, i) for t, i in tok.get_vocab().items() if re.fullmatch("Ġ?[a-z]+", t)]
        PIECES["on"] = [i for t, i in words if t[0] != "Ġ"]
        for mark, vowel in ((generate.CONSONANT, False), (generate.VOWEL, True)):
            PIECES[mark] = [i for t, i in words if t[0] == "Ġ" and (t[1] in "aeio") == vowel and t[1] != "u"]
            PIECES[mark, "ids"] = tok.encode(" " + mark).ids
    return PIECES


def spell(tok, ids, r):
    """Puts random tokens where a pretended word is marked, the same ones throughout a conversation.

    So every token is met as a part of a name, also those that no word of the text is split into.
    """
    p = pieces(tok)
    for mark in (generate.CONSONANT, generate.VOWEL):
        old = p[mark, "ids"]
        new = [r.choice(p[mark])] + [r.choice(p["on"]) for _ in range(r.choice([1, 1, 2, 2, 3]))]
        i = 0
        while i <= len(ids) - len(old):
            if ids[i:i + len(old)] == old:
                ids = ids[:i] + new + ids[i + len(old):]
            i += 1
    return ids


def encode(tok, talk, r=random):
    """Token ids of a conversation, and which of them are to be learned."""
    end, start, stop = (tok.token_to_id(s) for s in SPECIAL)
    ids, learn, seed = [], [], r.random()
    for role, text in talk:
        if role == "text":
            t = spell(tok, tok.encode(text).ids, random.Random(seed)) + [end]
            return t, [False] + [True] * (len(t) - 1)
        head = [start] + tok.encode(role + "\n").ids
        body = spell(tok, tok.encode(text).ids, random.Random(seed)) + [stop]
        ids += head + body + tok.encode("\n").ids
        learn += [False] * len(head) + [role == "assistant"] * len(body) + [False]
    return ids, learn


def drill(r):
    """Random tokens, some of which come a second time: to guess those, a model must learn to copy.

    Without drills, the model learned the stories long before it learned to name a subject it had never seen.
    """
    some = lambda n: [r.randrange(CONFIG["vocab_size"] - len(SPECIAL)) for _ in range(n)]
    again, gap = some(r.randint(2, 24)), some(r.choice([0, 0, 4, 12]))
    ids = some(r.choice([0, 3, 8])) + again + gap + again
    return ids, [False] * (len(ids) - len(again) + 1) + [True] * (len(again) - 1)


def batches(tok, seed, drills):
    """Endless steps: rows of whole conversations that do not see each other; drills() is the share of drills."""
    r = random.Random(seed)
    spare = []
    while True:
        tokens = torch.zeros(ROWS, ROW, dtype=torch.long)
        doc = torch.full((ROWS, ROW), -1)
        position = torch.zeros(ROWS, ROW, dtype=torch.long)
        at, target = [], []
        for i in range(ROWS):
            used = n = 0
            while used < ROW - 24:
                while len(spare) < 48:
                    ids, learn = drill(r) if r.random() < drills() else encode(tok, generate.conversation(r), r)
                    if len(ids) <= ROW:
                        spare.append((ids, learn))
                k = next((k for k, (ids, _) in enumerate(spare) if used + len(ids) <= ROW), None)
                if k is None:
                    break
                ids, learn = spare.pop(k)
                tokens[i, used:used + len(ids)] = torch.tensor(ids)
                doc[i, used:used + len(ids)] = n
                position[i, used:used + len(ids)] = torch.arange(len(ids))
                for j in range(1, len(ids)):
                    if learn[j]:
                        at.append(i * ROW + used + j - 1)
                        target.append(ids[j])
                used, n = used + len(ids), n + 1
        at, target = at[:TARGETS], target[:TARGETS]
        fill = TARGETS - len(at)
        yield tokens, position, doc, torch.tensor(at + [0] * fill), torch.tensor(target + [IGNORE] * fill)


class Batches(torch.utils.data.IterableDataset):
    """Batches from as many processes as load them."""

    def __init__(self, tok, seed, drills):
        self.args = tok, seed, drills

    def __iter__(self):
        tok, seed, drills = self.args
        worker = torch.utils.data.get_worker_info()
        return batches(tok, seed + (worker.id * 1000003 if worker else 0), lambda: drills.value)


class Layer(nn.Module):
    """One Qwen3 block; parameters are named as the checkpoint names them."""

    def __init__(self):
        super().__init__()
        c = CONFIG
        h, d = c["hidden_size"], c["head_dim"]
        lin = lambda i, o: nn.Linear(i, o, bias=False)
        self.input_layernorm, self.post_attention_layernorm = nn.RMSNorm(h, 1e-6), nn.RMSNorm(h, 1e-6)
        self.self_attn = nn.ModuleDict(dict(q_proj=lin(h, 4 * d), k_proj=lin(h, 2 * d), v_proj=lin(h, 2 * d), o_proj=lin(4 * d, h),
                                            q_norm=nn.RMSNorm(d, 1e-6), k_norm=nn.RMSNorm(d, 1e-6)))
        self.mlp = nn.ModuleDict(dict(gate_proj=lin(h, c["intermediate_size"]), up_proj=lin(h, c["intermediate_size"]),
                                      down_proj=lin(c["intermediate_size"], h)))

    @staticmethod
    def norm(n, x):
        return F.rms_norm(x, n.normalized_shape, n.weight.to(x.dtype), n.eps)

    def forward(self, x, cos, sin, mask):
        b, t, _ = x.shape
        a = self.self_attn
        h = self.norm(self.input_layernorm, x)
        q = self.norm(a["q_norm"], a["q_proj"](h).view(b, t, 4, 64))
        k = self.norm(a["k_norm"], a["k_proj"](h).view(b, t, 2, 64))
        v = a["v_proj"](h).view(b, t, 2, 64)

        def rope(u):
            lo, hi = u[..., :32], u[..., 32:]
            return torch.cat((lo * cos - hi * sin, hi * cos + lo * sin), -1).to(v.dtype)

        q, k = rope(q), rope(k)
        k, v = k.repeat_interleave(2, 2), v.repeat_interleave(2, 2)
        o = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), attn_mask=mask)
        x = x + a["o_proj"](o.transpose(1, 2).reshape(b, t, 256))
        h = self.norm(self.post_attention_layernorm, x)
        m = self.mlp
        return x + m["down_proj"](F.silu(m["gate_proj"](h)) * m["up_proj"](h))


class Net(nn.Module):
    """Qwen3ForCausalLM with only what training needs: transformers' own is several times slower on a CPU."""

    def __init__(self):
        super().__init__()
        self.embed_tokens = nn.Embedding(CONFIG["vocab_size"], CONFIG["hidden_size"])
        self.layers = nn.ModuleList(Layer() for _ in range(CONFIG["num_hidden_layers"]))
        self.norm = nn.RMSNorm(CONFIG["hidden_size"], 1e-6)
        for n, p in self.named_parameters():
            if p.dim() == 2:
                nn.init.normal_(p, std=0.02 if "embed" in n else p.shape[1] ** -0.5)
            if "o_proj" in n or "down_proj" in n:
                nn.init.zeros_(p)

    def forward(self, tokens, position, doc, at, target):
        mask = (doc[:, None, :, None] == doc[:, None, None, :]) & torch.ones(ROW, ROW, dtype=torch.bool, device=doc.device).tril()
        inv = CONFIG["rope_theta"] ** (-torch.arange(0, 64, 2, dtype=torch.float32, device=doc.device) / 64)
        angle = position[..., None].float() * inv
        cos, sin = angle.cos()[:, :, None].bfloat16(), angle.sin()[:, :, None].bfloat16()
        x = self.embed_tokens(tokens).bfloat16()
        for layer in self.layers:
            x = layer(x, cos, sin, mask)
        h = Layer.norm(self.norm, x).view(-1, CONFIG["hidden_size"])[at]
        return F.cross_entropy(F.linear(h, self.embed_tokens.weight).float(), target, ignore_index=IGNORE)


def train(state, minutes, peak=1.0, first=DRILLS):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    began, budget = time.time(), minutes * 60
    tok = Tokenizer.from_file(TOKENIZER)
    drills = multiprocessing.Value("d", first)
    before = torch.load(state, map_location="cpu")["step"] if os.path.exists(state) else 0
    workers = max(1, os.cpu_count() - 2) if GPU else 0
    feed = iter(torch.utils.data.DataLoader(Batches(tok, 1000 + before, drills), batch_size=None, num_workers=workers,
                                            prefetch_factor=4 if workers else None, pin_memory=GPU))
    device = "cuda" if GPU else "cpu"
    net = Net().to(device)
    print(f"{sum(p.numel() for p in net.parameters()):,} parameters", flush=True)
    if before:  # go on from there
        net.load_state_dict(torch.load(state, map_location=device)["net"])
    matrices = [p for n, p in net.named_parameters() if p.dim() == 2 and "embed" not in n]
    others = [p for n, p in net.named_parameters() if p.dim() != 2 or "embed" in n]
    optimizers = [torch.optim.Muon(matrices, lr=6e-3, weight_decay=0.02, momentum=0.95, adjust_lr_fn="match_rms_adamw"),
                  torch.optim.AdamW(others, lr=3e-3, betas=(0.9, 0.98), weight_decay=0.0)]
    base = [o.param_groups[0]["lr"] for o in optimizers]
    step_fn = net if GPU else torch.compile(net, dynamic=False)  # compiling for a GPU takes longer than it saves in minutes
    saved, mean, step = began, None, 0
    done = False
    while not done:
        # The schedule runs by the clock, so that training ends when it must: warm up, hold, go down to nothing.
        part = (time.time() - began) / budget
        scale = peak * min(1, (step + 1) / 50) * min(1, max(0.0, (1 - part) / 0.8))
        done = part >= 1
        drills.value = first if part < 0.2 else DRILLS
        for o, lr in zip(optimizers, base):
            o.param_groups[0]["lr"] = lr * scale
        with torch.autocast(device, torch.bfloat16):
            loss = step_fn(*(t.to(device, non_blocking=True) for t in next(feed)))
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        for o in optimizers:
            o.step()
        net.zero_grad()
        step += 1
        mean = loss.item() if mean is None else 0.95 * mean + 0.05 * loss.item()
        if step % (100 if GPU else 10) == 0:
            seconds = time.time() - began
            print(f"step {step} loss {mean:.4f} lr {scale:.3f} {step * ROW * ROWS / seconds:.0f} tokens/s {seconds / 60:.1f} min", flush=True)
        if done or time.time() - saved > 180:
            saved = time.time()
            torch.save(dict(net=net.state_dict(), step=before + step, loss=mean), state + ".new")
            os.replace(state + ".new", state)


def average(out, *parts):
    """The weighted mean of states of one run, which keeps more of what each is good at than the last one alone."""
    states = [(torch.load(name, map_location="cpu"), float(weight)) for name, weight in (p.rsplit(":", 1) for p in parts)]
    net = {k: sum(w * s["net"][k] for s, w in states) for k in states[0][0]["net"]}
    torch.save(dict(states[-1][0], net=net), out)


def export(state, out):
    """A checkpoint that transformers and Troupe read."""
    from safetensors.torch import save_file

    os.makedirs(out, exist_ok=True)
    tok = Tokenizer.from_file(TOKENIZER)
    net = torch.load(state, map_location="cpu")["net"]
    save_file({"model." + n: p.bfloat16().contiguous() for n, p in net.items()}, os.path.join(out, "model.safetensors"), metadata={"format": "pt"})
    stops = [tok.token_to_id("<|im_end|>"), tok.token_to_id("<|endoftext|>")]
    config = dict(architectures=["Qwen3ForCausalLM"], model_type="qwen3", **CONFIG, hidden_act="silu", attention_bias=False, attention_dropout=0.0,
                  tie_word_embeddings=True, use_cache=True, use_sliding_window=False, initializer_range=0.02, bos_token_id=None,
                  eos_token_id=stops[0], pad_token_id=stops[1], torch_dtype="bfloat16")
    generation = dict(do_sample=True, temperature=0.6, top_p=0.9, top_k=20, eos_token_id=stops, pad_token_id=stops[1])
    for name, data in (("config.json", config), ("generation_config.json", generation)):
        with open(os.path.join(out, name), "w") as f:
            json.dump(data, f, indent=2)
            f.write("\n")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        src = os.path.join(HERE, "checkpoint", name)
        if os.path.abspath(out) != os.path.dirname(src):
            shutil.copy(src, out)
    print({n: os.path.getsize(os.path.join(out, n)) for n in sorted(os.listdir(out))})


if __name__ == "__main__":
    what, args = sys.argv[1], sys.argv[2:]
    if what == "tokenizer":
        make_tokenizer()
    elif what == "train":
        train(args[0], *map(float, args[1:]))
    elif what == "average":
        average(*args)
    elif what == "export":
        export(*args)
    else:
        sys.exit(__doc__)
