package main

import (
	"bytes"
	"context"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// invoke runs the program in this process.
func invoke(t *testing.T, stdin string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	return invokeIn(t, nil, stdin, args...)
}

// invokeIn runs it in an environment.
func invokeIn(t *testing.T, env environ, stdin string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	status = run(context.Background(), args, stdio{in: strings.NewReader(stdin), out: &out, err: &errs, env: env})
	return status, out.String(), errs.String()
}

func TestWrongCommandLinesSayWhatWasMeant(t *testing.T) {
	for _, c := range []struct {
		args string
		want []string // all of them, in what is said
	}{
		{"srve", []string{`troupe has no command "srve": did you mean serve?`}},
		{"serve --prot 80", []string{"no flag --prot", "did you mean --port?"}},
		{"serve --model-path x", []string{"no flag --model-path", "did you mean --model?"}},
		{"serve --gpu-memory-utilization 0.9", []string{"did you mean --memory-ratio?"}},
		{"serve --max-model-len 9", []string{"did you mean --max-seq-len?"}},
		{"serve --max_model_len 9 --pipeline-parallel-size 2 --frobnicate --prot=80", []string{
			"no flag --max_model_len: did you mean --max-seq-len?", "no flag --pipeline-parallel-size: a model is shared among devices by --tp alone", "no flag --frobnicate\n",
			"no flag --prot: did you mean --port?",
		}},
		{"serve --enforce-eager", []string{"did you mean --cuda-graph-max-bs=-1?"}},
		{"serve --frobnicate", []string{"no flag --frobnicate\n"}},
		{"serve -x", []string{"no flag -x\n"}},
		{"serve --port", []string{"--port lacks its value", "--port N"}},
		{"serve --port abc", []string{`--port is "abc"; it must be a whole number`}},
		{"serve --port 70000", []string{"--port is 70000; it must be from 0 to 65535"}},
		{"serve --memory-ratio 1.5", []string{"--memory-ratio is 1.5; it must be from 0 to 1"}},
		{"serve --memory-ratio NaN", []string{"--memory-ratio is NaN"}},
		{"serve --max-seq-len -1", []string{"it must be at least 0"}},
		{"serve --page-size 24", []string{"--page-size is 24; it must be a power of two"}},
		{"serve --cache radx", []string{`--cache is "radx"; it must be radix or naive: did you mean radix?`}},
		{"serve --dtype float16", []string{"it must be auto, float32, bfloat16, int8 or int4"}},
		{"serve --device gpu:1", []string{`--device is "gpu:1": did you mean cuda:1?`}},
		{"serve --device cpo", []string{"it must be auto, cpu, cuda, cuda:N, cuda:M,N or sim:NAME: did you mean cpu?"}},
		{"serve --device cuda:0,x", []string{`--device and --tp: device "cuda:0,x": GPU 1 of the list is "x"`}},
		{"serve --device cuda:0,2 --tp 4", []string{`device "cuda:0,2" is 2 GPUs, and 4 are to share the model`}},
		{"serve --device cuda:1 --tp 2", []string{`give as many, such as "cuda:0,1"`}},
		{"serve --device cuda:0,1,2 --dp 2", []string{"3 GPUs cannot be shared out among 2 engines"}},
		{"serve --join 10.0.0.1:7 --join-command look --engine-only", []string{"--join needs --cluster", "--join-command needs --cluster", "--engine-only needs --cluster"}},
		{"serve --cluster c --cluster-listen 10.0.0.1:7 --cluster-secret main_test.go", []string{"an @ before it: @main_test.go"}},
		{"serve --cluster c --cluster-listen 10.0.0.1:7 --cluster-secret short", []string{"of 16 bytes or more", "it has 5"}},
		{"serve --cluster c --dp 2 --front-only --engine-only", []string{"exclude each other", "needs --cluster-listen", "needs --cluster-secret, of 16 bytes", "a host of a cluster has one engine"}},
		{"serve --cluster c --cluster-listen :7 --join here", []string{"the one address by which other hosts reach", "--join is \"here\""}},
		{"serve --cluster c --cluster-listen 10.0.0.1:0 --join-command look", []string{"--join-command needs a port in --cluster-listen"}},
		{"serve --model a --model b", []string{"--model is given 2 times; several are for troupe serve --front-only"}},
		{"chat --model a --model b", []string{"--model is given 2 times; several are for troupe serve --front-only"}},
		{
			"serve --cluster c --cluster-listen 10.0.0.1:7 --cluster-secret 0123456789abcdef --front-only --model o/a --model o/b --model o/a --trace t.json --served-model-name x=y --tool-call-parser hermes,o/b=shout,o/c=none",
			[]string{`--model "o/a" is given twice`, "--trace is of one model", `--served-model-name is "x=y"; with several models it must be MODEL=NAME`, `--tool-call-parser has "o/c=none"; it must be FAMILY, for all models, or MODEL=FAMILY`, `--tool-call-parser: "shout" is not known`},
		},
		{"serve --dp 0", []string{"--dp is 0; it must be from 1 to 64"}},
		{"bench virtual --dp 2", []string{"--dp is 2; a virtual clock has one engine"}},
		{"bench cluster --dp 2 --engines 0 --speculative ngram", []string{"--speculative is ngram", "--trace-file is not given", "--dp is 2; --engines says how many", "--engines has 0; there can be 1 to 10000"}},
		{"bench cluster --policies best --engines 2,x", []string{`--policies is "best": it must be all, or some of`, `--engines is "2,x"; it must be whole numbers with commas between`}},
		{"serve --device cpu:1", []string{"did you mean --device cpu?"}},
		{"serve --device sim", []string{"sim:h200"}},
		{"serve --overlap=perhaps", []string{`--overlap is "perhaps"; it must be true or false`}},
		{"serve --overlap false", []string{`takes no arguments, but there is "false"`, "=false"}},
		{"serve ./model", []string{"did you mean --model ./model?"}},
		{"serve --drain-timeout 30", []string{"a duration such as 30s"}},
		{"serve --read-timeout 0s", []string{"--read-timeout is 0s; it must be at least 1ms"}},
		{"serve --allowed-origins example.org", []string{`origin "example.org": expected`, "https://example.org"}},
		{"serve --api-key=", []string{"an API key is empty"}},
		{"serve --trace /proc/trace", []string{`--trace is "/proc/trace", but `}}, // there is none, or it takes no files
		{"serve --root-path llm --trusted-proxies proxy", []string{`--root-path is "llm"; it must be such as /llm`, `--trusted-proxies "proxy": expected an address`}},
		{"serve --trace /nonexistent/trace", []string{`--trace is "/nonexistent/trace", but there is no directory /nonexistent`}},
		{"bench offline --json - --html -", []string{"--json and --html are both -"}},
		{"bench trace --out - --json -", []string{"--out and --json are both -"}},
		{"bench online --rate 0", []string{"--rate is 0; it must be positive"}},
		{"bench online --rate 5 --concurrency 3", []string{"--rate and --concurrency are two ways to time requests"}},
		{"bench online --constant --concurrency 3", []string{"--constant and --concurrency"}},
		{"bench online --trace-file x --scale 2 --concurrency 3", []string{"--scale and --concurrency"}},
		{"bench online --trace-file x --rate 3 --output-len 9", []string{"--rate is given, and a trace", "--output-len is given, and a trace"}},
		{"bench online --trace-format qwen --constant", []string{"--constant is given, and a trace"}},
		{"bench online --trace-url http://a/b", []string{"--trace-url is", "it needs --trace-format qwen"}},
		{"bench online --remote-model x", []string{"--remote-model is for a server, but there is no --url"}},
		{"bench online --url http://a --model b --device cpu", []string{"--model is for a model in this process, but --url names a server: did you mean --remote-model?", "--device is for"}},
		{"bench wildchat --url http://a --page-size 16", []string{"--page-size is for a model in this process"}},
		{"bench virtual --num-requests 5", []string{"--num-requests is 5; it needs --trace-file"}},
		{"bench virtual --trace-file x --num-seqs 5", []string{"--num-seqs is given, and a trace"}},
		{"bench virtual --input-len 99999999999", []string{"LOW ≤ HIGH ≤ 10,000,000"}},
		{"bench offline --json testdata", []string{`--json is "testdata", but that is a directory`}},
		{"pull --hub modelscope a/b", []string{"give the files a directory with --dir"}},
		{"pull Qwen3-0.6B", []string{`"Qwen3-0.6B" is no model's name, want OWNER/NAME, OWNER/NAME:REVISION or, of GGUF files, OWNER/NAME:QUANTISATION`}},
		{"pull --revision v1 a/b:v2", []string{`--revision is "v1", and the name has one, too: a/b:v2`}},
		{"rm a/b", []string{"nobody is there to ask whether to remove a/b: --yes"}},
		{"rm", []string{"rm takes one model"}},
		{"show a b", []string{"show takes one model, such as Qwen/Qwen3-0.6B, but there are 2 arguments"}},
		{"serve --api-key @/nonexistent/key", []string{"--api-key: ", "/nonexistent/key"}},
		{"serve --api-key-file /nonexistent/keys", []string{"/nonexistent/keys"}},
		{"serve --tls-cert x", []string{"--tls-cert and --tls-key go together"}},
		{"serve --tls-client-ca x --admin-listen 9090", []string{"--tls-client-ca needs --tls-cert", `--admin-listen is "9090"`}},
		{"serve --allowed-hosts http://a --allowed-origins a", []string{`host "http://a": expected`, `origin "a": expected`}},
		{"serve --key-open 3", []string{"there are limits for keys and no keys"}},
		{"serve --body-budget 5", []string{"--body-budget must be at least 67108864 for a --max-body of 16777216, got 5"}},
		{"serve --tool-call-parser x", []string{`--tool-call-parser: "x" is not known`, "qwen3_coder"}},
		{"serve --reasoning-parser x", []string{`--reasoning-parser: "x" is not known`, "deepseek_r1"}},
		{"serve --allow-origin x", []string{"--allowed-origins"}},
		{"serve --otlp-endpoint localhost:4318", []string{"--otlp-endpoint: ", "http://127.0.0.1:4318"}},
		{"serve --log-level loud", []string{"debug, info, warn, error or off"}},
		{"serve --port x --cache y --page-size 3", []string{"--port is", "--cache is", "--page-size is 3"}},
		{"bench offline --input-len 9:3", []string{`--input-len is "9:3"`, "LOW:HIGH"}},
		{"bench offline --num-seqs 0", []string{"it must be at least 1"}},
		{"bench online --trace-format azure", []string{"--trace-format is azure; it needs --trace-file"}},
		{"bench online --scale 2", []string{`--scale is "2"; it stretches a trace's times`}},
		{"bench online --scale 0.5,x", []string{`--scale is "0.5,x": it must be positive numbers`}},
		{"bench report", []string{"no file is named"}},
		{"bench oflin", []string{`troupe bench has no command "oflin": did you mean offline?`}},
		{"complete --raw --system x y", []string{"--system needs the chat template"}},
		{"complete --url ftp://localhost hello", []string{"http://127.0.0.1:1919"}},
		{"run", []string{"run takes a model, such as Qwen/Qwen3-0.6B"}},
		{"run -m a b", []string{`--model is "a", and run is told "b": leave out the flag`}},
		{"complete", []string{"the prompt is empty"}},
		{"tokenize --decode --count 5", []string{"leave out --decode"}},
		{"pull", []string{"pull takes one model, such as Qwen/Qwen3-0.6B"}},
		{"version now", []string{"takes no arguments"}},
	} {
		status, stdout, stderr := invoke(t, "", strings.Fields(c.args)...)
		if status != 2 || stdout != "" {
			t.Errorf("troupe %s: status %d, want 2; on standard output %q, want nothing", c.args, status, stdout)
		}
		for _, want := range c.want {
			if !strings.Contains(stderr, want) {
				t.Errorf("troupe %s says:\n%swant %q in it", c.args, stderr, want)
			}
		}
	}
}

// Failures that are no mistake of the command line have another status.
func TestFailureStatus(t *testing.T) {
	status, _, stderr := invoke(t, "", "complete", "--model", "/nonexistent", "hello")
	if status != 1 || !strings.Contains(stderr, "/nonexistent") || strings.Contains(stderr, "--help") {
		t.Errorf("status %d, %q; want 1 and the directory's name alone", status, stderr)
	}
}

func TestHelp(t *testing.T) {
	var help func(path []string, cmd *cobra.Command)
	help = func(path []string, cmd *cobra.Command) {
		name := strings.Join(append([]string{"troupe"}, path...), " ")
		status, got, stderr := invoke(t, "", append(path, "--help")...)
		if status != 0 || stderr != "" {
			t.Errorf("%s --help: status %d, %q on standard error", name, status, stderr)
		}
		golden(t, filepath.Join("testdata", "help", name), got)
		for _, line := range strings.Split(got, "\n") {
			if len([]rune(line)) > 100 {
				t.Errorf("%s --help has a line of %d letters: %s", name, len([]rune(line)), line)
			}
		}
		for _, c := range cmd.Commands() {
			if c.IsAvailableCommand() {
				help(append(slices.Clone(path), c.Name()), c)
			}
		}
	}
	help(nil, newRoot(stdio{}))
}

// golden compares a text with a file, which -update rewrites.
func golden(t *testing.T, name, got string) {
	t.Helper()
	name = strings.ReplaceAll(name, " ", "-") + ".txt"
	if *update {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatalf("%v; go test -update makes it", err)
	}
	if got != strings.ReplaceAll(string(want), "\r\n", "\n") {
		t.Errorf("%s differs; go test -update rewrites it. Now:\n%s", name, got)
	}
}

func TestClosest(t *testing.T) {
	names := []string{"model", "port", "page-size", "num-pages", "cache"}
	for text, want := range map[string]string{
		"prot": "port", "modl": "model", "models": "model", "page": "page-size", "cahce": "cache", "CACHE": "cache",
		"x": "", "": "", "temperature": "", "numpages": "num-pages",
	} {
		if got := closest(text, names); got != want {
			t.Errorf("closest(%q) = %q, want %q", text, got, want)
		}
	}
}
