"""Makes the small random checkpoints beside it, one per architecture, with what is needed to test against them.

usage: generate.py [NAME ...]        (needs torch, transformers 5.17 and tokenizers; a few minutes on two cores)

Each folder is a Hugging Face checkpoint of a few hundred KB: random weights that bfloat16 represents exactly, a tiny
BPE tokenizer trained on sentences this script makes up, a chat template, and

  reference.json  outputs of transformers in float32: per case prompt_ids, the logits after the prompt, the greedy
                  continuation with its log-probabilities and margins (best minus second best logit). Prompts are
                  redrawn until the smallest margin is clear of float32 noise, so greedy ids can be compared exactly.
  vectors.jsonl   tokenizer cases by the tokenizers library: text, ids without special tokens, decoded with them,
                  special_ids with special tokens added.
  chat.jsonl      chat template cases by transformers: messages, rendered with add_generation_prompt.

families/NAME are checkpoints of further families, with config.json, weights and reference.json alone.
"""
import json, os, random, shutil, sys

import torch, transformers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

HERE = os.path.dirname(os.path.abspath(__file__))
MARGIN = 0.01

# --- text of our own ---------------------------------------------------------------------------------------------------

NAMES = "Ada Bruno Clara Dario Edith Farid Greta Hugo Ines Jonas Karin Luca Mira Nils Olga Pavel".split()
THINGS = "boat lamp kettle ladder violin garden window bridge letter basket engine clock harbour mirror pencil".split()
PLACES = ["on the hill", "by the river", "in the attic", "behind the mill", "under the old bridge", "near the station"]
VERBS = "found lost painted mended sold borrowed carried hid polished measured".split()
HUES = "red green blue yellow silver small heavy broken quiet wooden".split()


def sentence(r):
    a, b = r.sample(NAMES, 2)
    t, u = r.sample(THINGS, 2)
    h, p, v, w = r.choice(HUES), r.choice(PLACES), r.choice(VERBS), r.choice(VERBS)
    return r.choice([
        f"{a} {v} the {h} {t} {p}.", f"Why did {a} say that {b} {v} a {t}?", f"{a}'s {t} isn't {h}; {b}'s {u} is.",
        f"At {r.randint(1, 12)}:{r.randint(10, 59)} {a} and {b} {v} {r.randint(2, 400)} {t}s {p}.",
        f"\"We'll see,\" said {a}, who {w} the {u}. \"It's only a {h} {t}!\"", f"The {t} {p} cost {r.randint(1, 99)}.{r.randint(10, 99)} crowns.",
    ])


def texts(r):
    """Tokenizer cases: plain text, white space, contractions, digits, code, other scripts, marks, near-special text."""
    fixed = ["", " ", "   ", "\n", " \n\n  \t x", "Hello, world!", "I'm we'LL they'Ve don't O'Brien", "x = 1234567 + 3.25e-7", "a  b   c    d",
             "func main() {\n\t\tfmt.Println(1)\n\t}\n\n\n", "naïve café e\u0301 \u00e9 ﬁ ½", "a\u00a0b\u2003c\u200bd", "one\ttwo\r\nthree\rfour",
             "漢字とかな、한국어", "مرحبا ١٢٣", "🤖 👩‍👧 🇫🇷", "!!!???...——", "<|begin|>user\nhi<|end|>\n", "<|begin", "<s>a</s>", "\u0000\u0001\u007f", "k" * 120, "ab " * 40, "9" * 31,
             "it'ſ ʼs ’s", "https://example.org/a?b=c&d=%20#e", "$5 €7", "\U0002070E\U00010348"]
    pool = "".join(fixed) + "".join(sentence(r) for _ in range(20))
    return fixed + [sentence(r) for _ in range(10)] + ["".join(r.choice(pool) for _ in range(r.randint(1, 50))) for _ in range(12)]


# --- tokenizers --------------------------------------------------------------------------------------------------------

DIGIT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
DIGITS = DIGIT.replace(r"|\p{N}|", r"|\p{N}{1,3}|")


def byte_level(corpus, vocab, pattern, specials, nfc=False, bos=None):
    t = Tokenizer(models.BPE())
    if nfc:
        t.normalizer = normalizers.NFC()
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"),
                                               pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator(corpus, trainers.BpeTrainer(vocab_size=vocab, special_tokens=specials, show_progress=False,
                                                      initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet())))
    if bos:
        t.post_processor = processors.Sequence([
            processors.ByteLevel(trim_offsets=True),
            processors.TemplateProcessing(single=f"{bos} $A", pair=f"{bos} $A {bos}:1 $B:1", special_tokens=[(bos, t.token_to_id(bos))])])
    return t


def sentence_piece(corpus, vocab, specials, bos):
    t = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    pieces = [f"<0x{b:02X}>" for b in range(256)]
    t.train_from_iterator([s.replace(" ", "▁") for s in corpus],
                          trainers.BpeTrainer(vocab_size=vocab, special_tokens=specials + pieces, show_progress=False))
    t.post_processor = processors.TemplateProcessing(single=f"{bos} $A", pair=f"{bos} $A {bos}:1 $B:1", special_tokens=[(bos, t.token_to_id(bos))])
    j = json.loads(t.to_str())  # byte pieces are ordinary pieces, not added tokens
    j["added_tokens"] = [a for a in j["added_tokens"] if a["content"] not in pieces]
    return Tokenizer.from_str(json.dumps(j))


TURNS = """{%- for message in messages %}
    {{- '<|begin|>' + message['role'] + '\\n' + message['content'] | trim + '<|end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|begin|>assistant\\n' }}
{%- endif %}
"""
LINES = """{{- bos_token }}
{%- for message in messages %}
    {%- if message.role == 'user' %}
        {{- '[ASK] ' + message.content + ' [/ASK]' }}
    {%- elif message.role == 'assistant' %}
        {{- ' ' + message.content + eos_token }}
    {%- else %}
        {{- raise_exception('only user and assistant may speak, not ' + message.role) }}
    {%- endif %}
{%- endfor %}
"""

# --- checkpoints -------------------------------------------------------------------------------------------------------

common = dict(vocab_size=320, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=64,
              intermediate_size=128, max_position_embeddings=2048, initializer_range=0.16, rms_norm_eps=1e-6)
turns = ["<|endoftext|>", "<|begin|>", "<|end|>"]
llama_turns = ["<|endoftext|>", "<|startoftext|>", "<|begin|>", "<|end|>"]
inst = ["<unk>", "<s>", "</s>", "[ASK]", "[/ASK]"]
SPECS = {
    # tied head; end of sequence and sampling defaults in generation_config.json, as Qwen3 publishes them
    "qwen3": dict(kind="qwen3", config=dict(common, tie_word_embeddings=True, rope_theta=1e6), bos=None, eos="<|end|>", template=TURNS,
                  tokenizer=lambda c: byte_level(c, 320, DIGIT, turns + ["<think>", "</think>"], nfc=True),
                  generation=dict(do_sample=True, temperature=0.6, top_k=20, top_p=0.95, eos_token_id=[2, 0])),
    # untied, in shards, heads of 128, three query heads a key head, more embedding rows than tokens
    "qwen3-sharded": dict(kind="qwen3", config=dict(common, tie_word_embeddings=False, rope_theta=1e6, head_dim=128, num_attention_heads=3, num_key_value_heads=1),
                          bos=None, eos="<|end|>", template=TURNS, tokenizer=lambda c: byte_level(c, 304, DIGIT, turns, nfc=True), shard="120KB"),
    # biases on q, k, v; no head_dim in the config
    "qwen2": dict(kind="qwen2", config={k: v for k, v in dict(common, tie_word_embeddings=True, rope_theta=1e6, hidden_size=128, num_attention_heads=2, num_key_value_heads=1).items() if k != "head_dim"},
                  bos=None, eos="<|end|>", template=TURNS, tokenizer=lambda c: byte_level(c, 320, DIGIT, turns, nfc=True)),
    # scaled RoPE; config.json in the layout of transformers 4
    "llama3": dict(kind="llama", config=dict(common, tie_word_embeddings=False, rope_theta=5e5, rope_scaling=dict(
                       rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=64)),
                   bos="<|startoftext|>", eos="<|end|>", template="{{- bos_token }}" + TURNS, old=True,
                   tokenizer=lambda c: byte_level(c, 320, DIGITS, llama_turns, bos="<|startoftext|>")),
    # byte-fallback BPE, four query heads a key head
    "mistral": dict(kind="mistral", config=dict(common, vocab_size=384, tie_word_embeddings=False, rope_theta=1e4, sliding_window=None, num_key_value_heads=1),
                    bos="<s>", eos="</s>", template=LINES, tokenizer=lambda c: sentence_piece(c, 384, inst, "<s>")),
    # a mixture of experts of a size that fills no vector; config.json in the layout of transformers 4, as Qwen3 publishes them
    "qwen3moe": dict(kind="qwen3_moe", config=dict(common, tie_word_embeddings=True, rope_theta=1e6, num_experts=8, num_experts_per_tok=3,
                     moe_intermediate_size=40, norm_topk_prob=True), bos=None, eos="<|end|>", template=TURNS, old=True,
                     tokenizer=lambda c: byte_level(c, 320, DIGIT, turns, nfc=True)),
}


# --- families ----------------------------------------------------------------------------------------------------------

small = dict(vocab_size=160, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=32, intermediate_size=96,
             max_position_embeddings=2048, initializer_range=0.14, rms_norm_eps=1e-6, bos_token_id=None, eos_token_id=2, pad_token_id=None, tie_word_embeddings=False)
rope = lambda theta=1e4, kind="default", **k: dict(rope_theta=theta, rope_type=kind, **k)
yarn = lambda theta, **k: rope(theta, "yarn", factor=4.0, original_max_position_embeddings=64, beta_fast=32.0, beta_slow=1.0, **k)
three = ["sliding_attention", "sliding_attention", "full_attention"]
delta = dict(num_hidden_layers=3, layer_types=["linear_attention", "linear_attention", "full_attention"], linear_num_key_heads=1, linear_num_value_heads=2,
             linear_key_head_dim=16, linear_value_head_dim=24, linear_conv_kernel_dim=4)
FAMILIES = {
    "gemma3": ("gemma3_text", dict(num_hidden_layers=3, query_pre_attn_scalar=24, sliding_window=16, tie_word_embeddings=True, layer_types=three, initializer_range=0.05)),
    "gpt-oss": ("gpt_oss", dict(num_local_experts=4, num_experts_per_tok=2, sliding_window=16, intermediate_size=32,
                layer_types=["sliding_attention", "full_attention"], rope_parameters=yarn(150000.0, truncate=False))),
    "qwen3.5": ("qwen3_5_text", delta),
    "qwen3.5-moe": ("qwen3_5_moe_text", dict(delta, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=24, shared_expert_intermediate_size=40)),
    "glm4-moe": ("glm4_moe", dict(n_routed_experts=8, num_experts_per_tok=2, n_shared_experts=1, moe_intermediate_size=24, first_k_dense_replace=1, n_group=2,
                 topk_group=1, routed_scaling_factor=1.5, norm_topk_prob=True, use_qk_norm=True, attention_bias=True)),
    "deepseek-v3": ("deepseek_v3", dict(num_key_value_heads=4, q_lora_rank=24, kv_lora_rank=48, qk_nope_head_dim=16, qk_rope_head_dim=16, v_head_dim=20, head_dim=16,
                    n_routed_experts=8, num_experts_per_tok=2, n_shared_experts=1, moe_intermediate_size=24, first_k_dense_replace=1, n_group=4, topk_group=2,
                    routed_scaling_factor=2.5, norm_topk_prob=True, rope_parameters=yarn(1e4, mscale=1.0, mscale_all_dim=0.8))),
    "minimax-m2": ("minimax_m2", dict(num_local_experts=4, num_experts_per_tok=2, intermediate_size=32, rope_parameters=rope(5e6, partial_rotary_factor=0.5))),
    "phi3": ("phi3", dict(hidden_size=128, original_max_position_embeddings=64, max_position_embeddings=256, rope_parameters=rope(1e4, "longrope", original_max_position_embeddings=64,
             short_factor=[1 + 0.05 * i for i in range(16)], long_factor=[1.5 + 0.2 * i for i in range(16)]))),
    "granite": ("granite", dict(embedding_multiplier=6.0, attention_multiplier=0.02, residual_multiplier=0.3, logits_scaling=4.0)),
    "olmo3": ("olmo3", dict(num_hidden_layers=3, sliding_window=16, layer_types=three)),
    "smollm3": ("smollm3", dict(num_hidden_layers=3, no_rope_layers=[1, 0, 1])),
    "ministral3": ("ministral3", dict(rope_parameters=yarn(1e6, llama_4_scaling_beta=0.1, mscale=1.0, mscale_all_dim=1.0))),
    "qwen3-window": ("qwen3", dict(use_sliding_window=True, sliding_window=16, max_window_layers=1, rope_parameters=rope(1e6, "linear", factor=4.0))),
    "glm4": ("glm4", dict(attention_bias=True, rope_parameters=rope(1e4, partial_rotary_factor=0.5))),
    "mixtral": ("mixtral", dict(num_local_experts=4, num_experts_per_tok=2, intermediate_size=32)),
}


def make_family(name, kind, fields, number):
    """Prompts pass windows of 16 and original lengths of 64."""
    r = random.Random(1000 + number)
    torch.manual_seed(1000 + number)
    d = os.path.join(HERE, "families", name)
    shutil.rmtree(d, ignore_errors=True)
    config = AutoConfig.for_model(kind, **dict(small, **fields))
    m = make_model(config)
    with torch.no_grad():
        for k, b in m.named_buffers():  # what experts are chosen by is no parameter, but in the file
            if k.endswith("e_score_correction_bias"):
                b.copy_((torch.randn_like(b) * 0.2).to(torch.bfloat16).float())
    stored = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    stored.load_state_dict(m.state_dict())
    stored.save_pretrained(d)
    if os.path.exists(os.path.join(d, "generation_config.json")):
        os.remove(os.path.join(d, "generation_config.json"))
    cases = []
    for n in (1, 9, 40, 90):
        case = family_case(m, [r.randrange(3, config.vocab_size) for _ in range(n)])
        while case["min_margin"] < MARGIN:
            case = family_case(m, [r.randrange(3, config.vocab_size) for _ in range(n)])
        cases.append(case)
    json.dump(dict(note="weights are bfloat16; computed from them by transformers in float32", transformers=transformers.__version__, cases=cases),
              open(os.path.join(d, "reference.json"), "w"))
    print(name, sum(p.numel() for p in m.parameters()), [c["min_margin"] for c in cases])


def family_case(m, ids):
    """As reference_case, but each token from the whole sequence anew: nothing depends on a cache."""
    x = torch.tensor([ids])
    with torch.no_grad():
        for _ in range(12):
            x = torch.cat([x, m(x).logits[:, -1:].argmax(-1)], 1)
        logits = m(x).logits[0, len(ids) - 1:-1]
    gen = x[0, len(ids):]
    top = logits.topk(2, -1).values
    margins = (top[:, 0] - top[:, 1]).tolist()
    logprobs = torch.log_softmax(logits, -1).gather(1, gen[:, None])[:, 0]
    return dict(prompt_ids=ids, last_logits=[round(float(v), 5) for v in logits[0]], greedy_ids=gen.tolist(),
                greedy_logprobs=[round(float(v), 5) for v in logprobs], greedy_margins=[round(v, 4) for v in margins], min_margin=round(min(margins), 5))


def make_model(config):
    m = AutoModelForCausalLM.from_config(config, attn_implementation="eager", dtype=torch.float32).eval()
    with torch.no_grad():
        for p in m.parameters():
            if p.ndim == 1:
                p.add_(torch.randn_like(p) * 0.2)  # norms and biases away from constants
            p.copy_(p.to(torch.bfloat16).float())
    return m


def reference_case(m, tok, ids):
    x = torch.tensor([ids])
    with torch.no_grad():
        gen = m.generate(x, do_sample=False, max_new_tokens=24, min_new_tokens=24, attention_mask=torch.ones_like(x), eos_token_id=None,
                         pad_token_id=0, temperature=None, top_k=None, top_p=None)[0, len(ids):]
        logits = m(torch.cat([x, gen[None]], 1)).logits[0, len(ids) - 1:-1]
    top = logits.topk(2, -1).values
    margins = (top[:, 0] - top[:, 1]).tolist()
    logprobs = torch.log_softmax(logits, -1).gather(1, gen[:, None])[:, 0]
    return dict(prompt_ids=ids, last_logits=[round(float(v), 5) for v in logits[0]], greedy_ids=gen.tolist(),
                greedy_text=tok.decode(gen.tolist(), skip_special_tokens=True), greedy_logprobs=[round(float(v), 5) for v in logprobs],
                greedy_margins=[round(v, 4) for v in margins], min_margin=round(min(margins), 5))


def reference(m, tok, r):
    cases, used = [], tok.get_vocab_size()
    draws = [lambda n=n: [r.randrange(5, used) for _ in range(n)] for n in (1, 7, 33, 150)] + [lambda: tok.encode(sentence(r)).ids] * 2
    for draw in draws:
        case = reference_case(m, tok, draw())
        while case["min_margin"] < MARGIN:
            case = reference_case(m, tok, draw())
        cases.append(case)
    return dict(note="weights are bfloat16; computed from them by transformers in float32", transformers=transformers.__version__, cases=cases)


def jsonl(path, rows):
    with open(path, "w") as f:
        f.writelines(json.dumps(row) + "\n" for row in rows)


def make(name, spec, number):
    r = random.Random(number)
    torch.manual_seed(number)
    d = os.path.join(HERE, name)
    shutil.rmtree(d, ignore_errors=True)

    tok = spec["tokenizer"]([sentence(r) for _ in range(4000)])
    fast = PreTrainedTokenizerFast(tokenizer_object=tok, bos_token=spec["bos"], eos_token=spec["eos"])
    fast.chat_template = spec["template"]
    ident = lambda t: None if t is None else tok.token_to_id(t)
    config = AutoConfig.for_model(spec["kind"], **dict(spec["config"], bos_token_id=ident(spec["bos"]), eos_token_id=ident(spec["eos"]), pad_token_id=None))

    m = make_model(config)
    for k, v in spec.get("generation", {}).items():
        setattr(m.generation_config, k, v)
    stored = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    stored.load_state_dict(m.state_dict())
    stored.generation_config = m.generation_config
    stored.save_pretrained(d, max_shard_size=spec.get("shard", "1GB"))
    fast.save_pretrained(d)
    if spec.get("old"):
        path = os.path.join(d, "config.json")
        c = json.load(open(path))
        rope = c.pop("rope_parameters")
        c |= dict(rope_theta=rope.pop("rope_theta"), rope_scaling=rope if rope["rope_type"] != "default" else None, torch_dtype=c.pop("dtype"))
        if "num_local_experts" in c:
            c["num_experts"] = c.pop("num_local_experts")
        json.dump(c, open(path, "w"), indent=2)

    ref = reference(m, tok, r)
    json.dump(ref, open(os.path.join(d, "reference.json"), "w"))
    jsonl(os.path.join(d, "vectors.jsonl"), (
        dict(text=s, ids=ids, decoded=tok.decode(ids, skip_special_tokens=False), special_ids=tok.encode(s).ids)
        for s in texts(r) for ids in [tok.encode(s, add_special_tokens=False).ids]))
    say = lambda role: dict(role=role, content=sentence(r))
    chats = [[say("user")], [say("user"), say("assistant"), say("user")]]
    if spec["template"] is not LINES:
        chats += [[say("system"), say("user")], [dict(role="user", content="  quote \" \\ <tag> ünï\n")]]
    jsonl(os.path.join(d, "chat.jsonl"), (
        dict(messages=c, rendered=fast.apply_chat_template(c, tokenize=False, add_generation_prompt=True)) for c in chats))
    print(name, sum(p.numel() for p in m.parameters()), [c["min_margin"] for c in ref["cases"]])


if __name__ == "__main__":
    for number, (name, spec) in enumerate(SPECS.items(), 1):
        if len(sys.argv) == 1 or name in sys.argv[1:]:
            make(name, spec, number)
    for number, (name, (kind, fields)) in enumerate(FAMILIES.items(), 1):
        if len(sys.argv) == 1 or "families/" + name in sys.argv[1:]:
            make_family(name, kind, fields, number)
