package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// settle runs a command up to where it would begin, and returns its flags'
// values and what is wrong with them.
func settle(t *testing.T, env environ, args ...string) (values map[string]string, fault string) {
	t.Helper()
	values = map[string]string{}
	root := newRoot(stdio{in: strings.NewReader(""), out: &bytes.Buffer{}, err: &bytes.Buffer{}})
	cmd, _, err := root.Find(args)
	if err != nil {
		t.Fatal(err)
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cmd.Flags().VisitAll(func(f *pflag.Flag) { values[f.Name] = f.Value.String() })
		file, _ := flagOf(cmd, "config")
		return file.found.err()
	}
	root.SetArgs(args)
	if err := root.ExecuteContext(context.WithValue(t.Context(), environKey{}, env)); err != nil {
		fault = err.Error()
	}
	return values, fault
}

// settingsIn writes a file of settings and returns its name.
func settingsIn(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "troupe.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// Flags come before the environment, that before the file's section, that
// before the file's top, that before the default.
func TestSettingsPrecedence(t *testing.T) {
	name := settingsIn(t, `
port: 1
host: "::1"
page-size: 8
max-seq-len: 100     # of every command
stop: [a, "b,c"]     # chat's, and nothing to serve
overlap: false
drain-timeout: 5s
serve:
  max-seq-len: 200
  page-size: 16
  api-key: [one, two]
chat: {max-seq-len: 300, api-key: three}
tokenize:
  chat: true
bench:
  num-seqs: 5
  offline: {input-len: 1:2, num-seqs: 6}
  compare: overlap
`)
	env := environ{"TROUPE_HOST": "env", "TROUPE_PAGE_SIZE": "32", "TROUPE_CONFIG": name, "TROUPE_DEVICE": "", "OTHER": "x", "TROUPE_LISTENER": "3 0"}
	for _, c := range []struct {
		args string
		want map[string]string
	}{
		{"serve --page-size 64", map[string]string{
			"page-size": "64", "host": "env", "max-seq-len": "200", "port": "1", "api-key": "one,two", "overlap": "false", "drain-timeout": "5s",
			"device": "auto", "max-stops": "16",
		}},
		{"tokenize", map[string]string{"chat": "true"}},
		{"chat", map[string]string{"api-key": "three", "page-size": "32", "max-seq-len": "300", "stop": "a,b,c"}},
		{"complete", map[string]string{"max-seq-len": "100"}},
		{"bench offline", map[string]string{"num-seqs": "6", "input-len": "1:2", "compare": "overlap", "max-seq-len": "100"}},
		{"bench trace", map[string]string{"num-seqs": "5"}},
	} {
		got, fault := settle(t, env, strings.Fields(c.args)...)
		if fault != "" {
			t.Errorf("%s: %s", c.args, fault)
		}
		for flag, want := range c.want {
			if got[flag] != want {
				t.Errorf("%s: --%s is %q, want %q", c.args, flag, got[flag], want)
			}
		}
	}
}

// A list in the environment has a value a line, and flags replace it whole.
func TestSettingsLists(t *testing.T) {
	env := environ{"TROUPE_STOP": "one, two\nthree\n"}
	if got, fault := settle(t, env, "chat"); fault != "" || got["stop"] != "one, two,three" {
		t.Errorf("%q, %s", got["stop"], fault)
	}
	if got, fault := settle(t, env, "chat", "--stop", "x"); fault != "" || got["stop"] != "x" {
		t.Errorf("%q, %s", got["stop"], fault)
	}
}

// Every fault is told at once, with where it stands.
func TestSettingsFaults(t *testing.T) {
	for _, c := range []struct {
		name, file string
		env        environ
		want       []string
	}{
		{name: "all at once", file: "prot: 80\ncache: radx\npage-size: 24\nserve: {max-model-len: 5}\n", env: environ{"TROUPE_PORT": "x", "TROUPE_MODELL": "y"}, want: []string{
			`troupe.yaml:1: no command has a flag "prot": did you mean port?`,
			`troupe.yaml:2: --cache is "radx"; it must be radix or naive: did you mean radix?`,
			`troupe.yaml:3: --page-size is 24; it must be a power of two`,
			`troupe.yaml:4: troupe serve has no flag or command "max-model-len": did you mean max-seq-len?`,
			`TROUPE_PORT: --port is "x"; it must be a whole number`,
			`TROUPE_MODELL in the environment is no flag: did you mean TROUPE_MODEL?`,
		}},
		{name: "others' names", file: "pipeline-parallel-size: 2\nchat: {enforce_eager: true}\n", want: []string{
			`"pipeline-parallel-size": a model is shared among devices by --tp alone`, `"enforce_eager": did you mean cuda-graph-max-bs=-1?`,
		}},
		{name: "another command's section is checked", file: "chat: {prot: 1}\n", want: []string{`troupe chat has no flag or command "prot"`}},
		{name: "kinds", file: "port: [1, 2]\nhost: {a: b}\napi-key: [a, [b]]\ncache:\n", want: []string{
			"troupe.yaml:1: port takes one value, not a list", "troupe.yaml:2: host is a mapping", "troupe.yaml:3: api-key has a list in its list", "troupe.yaml:4: cache is nothing",
		}},
		{name: "twice", file: "port: 1\nport: 2\n", want: []string{"troupe.yaml:2: port is there twice"}},
		{name: "no mapping", file: "- port\n", want: []string{"troupe.yaml:1: there is a list, want flags and their values"}},
		{name: "no YAML", file: "port: [\n", want: []string{"troupe.yaml", "line 2"}},
		{name: "two documents", file: "port: 1\n---\nport: 2\n", want: []string{"second document"}},
		{name: "itself", file: "config: x\n", want: []string{`no command has a flag "config"`}},
		{name: "truth", file: "overlap: no\n", want: []string{`--overlap is "no"; it must be true or false`}},
		{name: "Kubernetes", env: environ{"TROUPE_PORT": "tcp://10.0.0.1:80"}, want: []string{"enableServiceLinks"}},
		{name: "no file", env: environ{"TROUPE_CONFIG": "/nonexistent/x.yaml"}, want: []string{"--config: open /nonexistent/x.yaml"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := []string{"serve"}
			if c.file != "" {
				args = append(args, "--config", settingsIn(t, c.file))
			}
			status, stdout, stderr := invokeIn(t, c.env, "", args...)
			if status != 2 || stdout != "" {
				t.Errorf("status %d, %q on standard output", status, stdout)
			}
			for _, want := range c.want {
				if !strings.Contains(stderr, want) {
					t.Errorf("it says\n%swant %q in it", stderr, want)
				}
			}
		})
	}
}

// A file with nothing in it is right.
func TestSettingsEmptyFile(t *testing.T) {
	for _, text := range []string{"", "# port: 1\n", "serve: {}\n"} {
		if _, fault := settle(t, nil, "serve", "--config", settingsIn(t, text)); fault != "" {
			t.Errorf("%q: %s", text, fault)
		}
	}
}

// What another name is explained by must be there, and the name must not.
func TestHintsAreTrue(t *testing.T) {
	names := flagNames(newRoot(stdio{}))
	for name, meant := range elsewhere {
		flag, _, _ := strings.Cut(meant, "=")
		if !slices.Contains(names, flag) {
			t.Errorf("%s is said to be --%s, which no command has", name, flag)
		}
		if slices.Contains(names, name) && !slices.Contains(names, meant) {
			t.Errorf("%s is a flag", name)
		}
		if dashed(name) != name {
			t.Errorf("%s is not written as it is looked up", name)
		}
	}
	serve := flagsOf(newServe().Flags())
	for _, row := range absent {
		for _, flag := range serve {
			if regexp.MustCompile(row.names).MatchString(flag) {
				t.Errorf("--%s of serve is said to be absent: %s", flag, row.text)
			}
		}
		for _, m := range regexp.MustCompile(`--([a-z-]+)`).FindAllStringSubmatch(row.text, -1) {
			if !slices.Contains(serve, m[1]) {
				t.Errorf("%q: serve has no --%s", row.text, m[1])
			}
		}
	}
}

// What vLLM's and SGLang's servers call a flag leads to what does the same here, to why there is none, or to
// nothing: never to another thing.
func TestHintsForOthersFlags(t *testing.T) {
	serve := flagsOf(newServe().Flags())
	for want, names := range map[string]string{
		"tp": "tensor-parallel-size tp-size", "dp": "data-parallel-size dp-size", "tls-cert": "ssl-certfile", "tls-key": "ssl-keyfile",
		"policy=priority": "enable-priority-scheduling", "cuda-graph-max-bs": "cuda-graph-max-bs-decode max-cudagraph-capture-size",
		"max-open-requests": "max-queued-requests max-num-queued-reqs", "otlp-endpoint": "otlp-traces-endpoint enable-trace", "root-path": "fastapi-root-path",
		"… shared among devices by --tp alone": "pipeline-parallel-size pp-max-micro-batch-size decode-context-parallel-size attn-cp-size dcp-size numa-node",
		"… by --speculative ngram":             "speculative-config speculative-algorithm speculative-num-draft-tokens spec-model num-lookahead-slots",
		"… experts are shared out":             "enable-expert-parallel ep-size eplb-config moe-runner-backend deepep-mode all2all-backend init-expert-location",
		"… engines of one host are --dp":       "nnodes node-rank dist-init-addr master-addr distributed-executor-backend data-parallel-rank dist-timeout",
		"… adapters are not read":              "enable-lora lora-paths max-loras-per-batch fully-sharded-loras",
		"… the text model is served":           "limit-mm-per-prompt mm-attention-backend enable-multimodal encoder-only image-processor-backend language-only allowed-local-media-path",
		"… computes a request's prompt and":    "disaggregation-mode kv-transfer-config kv-events-config mooncake-ib-device",
		"… waits, and is computed again":       "enable-hierarchical-cache hicache-ratio kv-offloading-size cpu-offload-gb enable-lmcache swap-space",
		"… kernels are the program's own":      "fp8-gemm-backend enable-flashinfer-allreduce-fusion triton-attention-num-kv-splits disable-custom-all-reduce compilation-config enable-torch-compile kernel-config",
		"… kept to by the program itself":      "grammar-backend guided-decoding-backend structured-outputs-config constrained-json-disable-any-whitespace",
		"… chat_template.jinja":                "chat-template hf-chat-template-name default-chat-template-kwargs",
		"… generation_config.json":             "generation-config override-generation-config sampling-defaults",
		"… what its config.json says":          "hf-overrides json-model-override-args config-format rope-scaling model-impl",
		"… /metrics is always there":           "enable-metrics bucket-time-to-first-token disable-log-stats enable-cache-report kv-cache-metrics",
		"":                                     "watermark dllm-algorithm frobnicate device-memory-utilization",
	} {
		for name := range strings.FieldsSeq(names) {
			text := instead(name, serve)
			part, told := strings.CutPrefix(want, "… ")
			switch got := meantFlag(name, serve); {
			case told && !strings.Contains(text, part):
				t.Errorf("--%s: %q, want %q", name, text, part)
			case !told && (got != want || text != ""):
				t.Errorf("--%s: %q and %q, want --%s", name, got, text, want)
			}
		}
	}
}

func TestCompletion(t *testing.T) {
	for args, want := range map[string]string{
		"serve --cache ":     "radix\nnaive\n:4\n",
		"serve --model qwen": "qwen3-0.6b\n",
		"chat --device ":     "auto\ncpu\n",
		"serve --overlap=":   "true\nfalse\n:4\n",
		"serve --port ":      ":4\n",
		"serve --trace ":     ":0\n",
		"pull --dir ":        ":16\n",

		"serve --tool-call-parser ": "\nhermes\n",
		"serve --reasoning-parser ": "\ndeepseek_r1\n",
		"run ":                      "builtin\n:0\n", // of published ones there are no weights
		"show ":                     "\nqwen3-14b\n",
	} {
		status, stdout, _ := invoke(t, "", append([]string{"__complete"}, strings.Split(args, " ")...)...)
		if status != 0 || !strings.Contains(stdout, want) {
			t.Errorf("%s: status %d, %q, want %q", args, status, stdout, want)
		}
	}
}

// A report tells how to repeat its run, wherever flags came from, and no secret.
func TestFlagsGiven(t *testing.T) {
	var got []string
	root := newRoot(stdio{})
	cmd, _, err := root.Find([]string{"bench", "online"})
	if err != nil {
		t.Fatal(err)
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { got = flagsGiven(cmd); return nil }
	root.SetArgs([]string{"bench", "online", "--concurrency=5", "--api-key", "secret"})
	env := environ{"TROUPE_URL": "http://a", "TROUPE_CONFIG": settingsIn(t, "overlap: false\nmodel: builtin")}
	if err := root.ExecuteContext(context.WithValue(t.Context(), environKey{}, env)); err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	if want := []string{"--concurrency=5", "--overlap=false", "--url=http://a"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
