"""Sets Troupe on the processor beside llama.cpp, in turns, with random weights of Qwen3-0.6B's shape.

    python compare_llamacpp.py LLAMA TROUPE [--served] [--turns 3] [--threads 2] [--work DIR]

LLAMA is the directory of llama.cpp's programs (cmake -DGGML_NATIVE=ON; llama-quantize, llama-batched-bench, llama-server), TROUPE this
program. It needs numpy and gguf, llama.cpp's Python package, for the model that both get as files; 4 GB of DIR, which is kept.
Troupe runs the files as they are, and the shape with weights of its own, rounded while they are loaded.

Decoding is of one sequence and of eight behind 16 tokens, prefill of 512. Both have pages of 2 MiB. Each figure is the median of the
turns; memory is the most that was resident. Nothing else should run meanwhile: the load before each turn is told.

With --served both serve the same files to this client, which streams completions of token ids: from start to first token, decoding behind
16, 512 and 3,900 tokens, prefill of 512, eight together behind 16, and the most that was resident with 4,000 tokens held. Troupe also
rounds the file in bfloat16 while it loads it.
"""

import argparse
import http.client
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

LAYERS, HIDDEN, HEADS, KV_HEADS, HEAD, INNER, VOCAB = 28, 1024, 16, 8, 128, 3072, 151936
CONTEXT = 4096
FORMATS = [("q8_0", "int8"), ("q4_k_m", "int4"), ("bf16", "bfloat16")]


def model(path):
    """Writes the shape with random weights, in bfloat16."""
    import gguf
    import numpy as np

    rng = np.random.default_rng(1)
    w = gguf.GGUFWriter(path, "qwen3")
    w.add_block_count(LAYERS)
    w.add_context_length(CONTEXT)
    w.add_embedding_length(HIDDEN)
    w.add_feed_forward_length(INNER)
    w.add_head_count(HEADS)
    w.add_head_count_kv(KV_HEADS)
    w.add_key_length(HEAD)
    w.add_value_length(HEAD)
    w.add_layer_norm_rms_eps(1e-6)
    w.add_rope_freq_base(1e6)
    vocabulary(w)

    def matrix(name, out, inner):
        x = rng.standard_normal((out, inner), dtype=np.float32) / np.float32(inner**0.5)
        bits = x.view(np.uint32)
        rounded = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)
        w.add_tensor(name, rounded.view(np.uint8), raw_dtype=gguf.GGMLQuantizationType.BF16)

    def ones(name, n):
        w.add_tensor(name, np.ones(n, dtype=np.float32))

    matrix("token_embd.weight", VOCAB, HIDDEN)
    ones("output_norm.weight", HIDDEN)
    for i in range(LAYERS):
        b = f"blk.{i}."
        for name, n in [("attn_norm", HIDDEN), ("ffn_norm", HIDDEN), ("attn_q_norm", HEAD), ("attn_k_norm", HEAD)]:
            ones(b + name + ".weight", n)
        for name, out, inner in [("attn_q", HEADS * HEAD, HIDDEN), ("attn_k", KV_HEADS * HEAD, HIDDEN), ("attn_v", KV_HEADS * HEAD, HIDDEN),
                                 ("attn_output", HIDDEN, HEADS * HEAD), ("ffn_gate", INNER, HIDDEN), ("ffn_up", INNER, HIDDEN), ("ffn_down", HIDDEN, INNER)]:
            matrix(b + name + ".weight", out, inner)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def vocabulary(w):
    """A tokenizer of pairs of bytes, and of names for the other ids."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    characters = [chr(b) for b in plain] + [chr(256 + i) for i in range(256 - len(plain))]
    pairs = [(a, b) for a in characters for b in characters]
    tokens = characters + [a + b for a, b in pairs]
    tokens += [f"unused {i}" for i in range(len(tokens), VOCAB - 1)] + ["<|end|>"]
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("qwen2")
    w.add_token_list(tokens)
    w.add_token_types([1] * (VOCAB - 1) + [3])
    w.add_token_merges([f"{a} {b}" for a, b in pairs])
    w.add_eos_token_id(VOCAB - 1)
    w.add_add_bos_token(False)


def run(command, env=None):
    """What a program says, and the most memory it had, in MB."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        p = subprocess.Popen(command, stdout=out, stderr=err, env={**os.environ, **(env or {})})
        _, status, usage = os.wait4(p.pid, 0)
        out.seek(0)
        if status:
            err.seek(0)
            sys.exit(f"{' '.join(command)}: status {status}\n{err.read().decode()[-2000:]}")
        return out.read().decode(), usage.ru_maxrss / 1000


def llama(a, file):
    def bench(prompt, reply, together):
        command = [os.path.join(a.llama, "llama-batched-bench"), "-m", file, "-c", str(CONTEXT), "-b", "512", "-ub", "512", "-t", str(a.threads), "-tb", str(a.threads),
                   "--load-mode", "none", "-npp", str(prompt), "-ntg", str(reply), "-npl", str(together), "--output-format", "jsonl"]
        for _ in range(5):  # its log is written by a thread that it does not always wait for at its end
            text, memory = run(command, {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"})
            for line in text.splitlines():
                if line.startswith("{"):
                    return json.loads(line), memory
        sys.exit(f"{' '.join(command)}: no figures in what it wrote, five times:\n{text[-2000:]}")

    one, memory = bench(16, 64, 1)
    many, _ = bench(16, 64, 8)
    prompt, _ = bench(512, 1, 1)
    return {"decode": one["speed_tg"], "eight": many["speed_tg"], "prefill": prompt["speed_pp"], "MB": memory}


def troupe(a, model):
    def bench(prompt, reply, together):
        text, memory = run([a.troupe, "bench", "offline", "--device", "cpu", *model, "--num-seqs", str(together),
                            "--input-len", str(prompt), "--output-len", str(reply), "--max-prefill-length", "512", "--max-running-requests", "8", "--num-pages", str(CONTEXT // 16),
                            "--warm-up", "2", "--json", "-"], {"GOMAXPROCS": str(a.threads)})
        return json.loads(text), memory

    one, memory = bench(16, 64, 1)
    many, _ = bench(16, 64, 8)
    prompt, _ = bench(512, 1, 1)
    return {"decode": 1e3 / one["itl_ms"]["p50"], "eight": 8e3 / many["itl_ms"]["p50"], "prefill": 512e3 / prompt["ttft_ms"]["p50"], "MB": memory}


class Server:
    """A server while it serves, and what a client sees of it."""

    def __init__(self, command, ready):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.log, self.began = tempfile.TemporaryFile(), time.time()
        self.process = subprocess.Popen([*command, "--port", str(self.port)], stdout=self.log, stderr=self.log, env={**os.environ, "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"})
        while not self.answers(ready):
            if self.process.poll() is not None:
                self.log.seek(0)
                sys.exit(f"{' '.join(command)} ended:\n{self.log.read().decode()[-2000:]}")
            time.sleep(0.01)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def answers(self, path):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            c.request("GET", path)
            return c.getresponse().status == 200
        except OSError:
            return False

    def ask(self, prompt, tokens):
        """When it was asked, and when tokens came."""
        ids = [random.randrange(300, VOCAB - 1) for _ in range(prompt)]
        body = {"prompt": ids, "max_tokens": tokens, "temperature": 0, "stream": True, "ignore_eos": True, "cache_prompt": False}
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        asked, came = time.time(), []
        c.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
        answer = c.getresponse()
        if answer.status != 200:
            sys.exit(f"status {answer.status}: {answer.read().decode()}")
        for line in answer:
            if line.startswith(b"data: {") and json.loads(line[6:]).get("choices"):
                came.append(time.time())
        return asked, came

    def decodes(self, prompt):
        _, came = [self.ask(prompt, 100) for _ in range(2)][-1]
        return 99 / (came[-1] - came[0])

    def prefills(self):
        return statistics.median(512 / (came[0] - asked) for asked, came in (self.ask(512, 1) for _ in range(3)))

    def together(self, n):
        seen = []
        threads = [threading.Thread(target=lambda: seen.append(self.ask(16, 64)[1])) for _ in range(n)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        return n * 63 / (max(came[-1] for came in seen) - max(came[0] for came in seen))

    def resident(self):
        with open(f"/proc/{self.process.pid}/status") as f:
            return next(int(line.split()[1]) / 1000 for line in f if line.startswith("VmHWM"))


def served(command, ready):
    """What a client sees of a server, whose command takes how many sequences it has room for."""
    with Server(command(1), ready) as s:
        s.ask(8, 2)
        figures = {"decode": s.decodes(16), "decode 512": s.decodes(512), "prefill": s.prefills(), "decode 3900": s.decodes(3900)}
        figures["MB"] = s.resident()
    with Server(command(1), ready) as s:  # now that the file is in memory for sure
        figures["first"] = s.ask(8, 2)[1][0] - s.began
    with Server(command(8), ready) as s:
        s.ask(8, 2)
        figures["eight"] = s.together(8)
    return figures


def llama_served(a, file):
    def command(n):
        return [os.path.join(a.llama, "llama-server"), "-m", file, "-c", str(CONTEXT * n), "-np", str(n), "-b", "512", "-ub", "512", "-t", str(a.threads), "-tb", str(a.threads), "--load-mode", "none"]

    return served(command, "/health")


def troupe_served(a, model):
    def command(n):
        return [a.troupe, "serve", "--device", "cpu", *model, "--max-seq-len", str(CONTEXT), "--num-pages", str(CONTEXT * n // 16), "--page-size", "16"]

    return served(command, "/ready")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("llama")
    parser.add_argument("troupe")
    parser.add_argument("--served", action="store_true")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--work", default=os.path.join(tempfile.gettempdir(), "compare_llamacpp"))
    a = parser.parse_args()
    os.makedirs(a.work, exist_ok=True)
    files = {name: os.path.join(a.work, name + ".gguf") for name, _ in FORMATS}
    if not os.path.exists(files["bf16"]):
        model(files["bf16"] + ".part")
        os.rename(files["bf16"] + ".part", files["bf16"])
    for name, file in files.items():
        if not os.path.exists(file):
            run([os.path.join(a.llama, "llama-quantize"), files["bf16"], file + ".part", name, str(a.threads)])
            os.rename(file + ".part", file)
    seen = {}
    for turn in range(a.turns):
        print(f"turn {turn + 1}, load {os.getloadavg()[0]:.2f}", flush=True)
        for name, dtype in FORMATS:
            ours, theirs = (troupe_served, llama_served) if a.served else (troupe, llama)
            own = ["--model", files["bf16"]] if a.served else ["--model", "qwen3-0.6b", "--dummy-weights"]
            for who, figures in (
                ("llama.cpp " + name, theirs(a, files[name])),
                ("troupe " + name, ours(a, ["--model", files[name]])),
                ("troupe " + dtype, ours(a, [*own, "--dtype", dtype])),
            ):
                print("  " + who + ": " + ", ".join(f"{what} {value:.2f}" for what, value in figures.items()), flush=True)
                for what, value in figures.items():
                    seen.setdefault((who, what), []).append(value)
    median = {key: statistics.median(values) for key, values in seen.items()}
    titles = {"first": "first token, s", "decode": "decode", "decode 512": "behind 512", "decode 3900": "behind 3,900", "eight": "8 together", "prefill": "prefill of 512", "MB": "MB"}
    columns = [c for c in titles if ("troupe bf16", c) in median]
    print("\n| | " + " | ".join(titles[c] for c in columns) + " |\n|" + " --- |" * (len(columns) + 1))
    for name, dtype in FORMATS:
        l = [median["llama.cpp " + name, c] for c in columns]
        print(f"| llama.cpp {name}, tokens/s | " + " | ".join(f"{v:.1f}" for v in l) + " |")
        for who in (f"troupe {name}", f"troupe {dtype}"):
            pairs = [statistics.median(b / a for a, b in zip(seen["llama.cpp " + name, c], seen[who, c])) for c in columns]
            print(f"| {who} | " + " | ".join(f"{median[who, c]:.1f}" for c in columns) + " |")
            print("| by llama.cpp's, median of pairs | " + " | ".join(f"{v:.2f}" for v in pairs) + " |")


if __name__ == "__main__":
    main()
