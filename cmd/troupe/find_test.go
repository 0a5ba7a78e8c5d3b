package main

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/json"
	"fmt"
	nethttp "net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/model/modeltest"
)

const tinyCommit = "0123456789abcdef0123456789abcdef01234567"

// tinyHub serves a small checkpoint as acme/tiny, acme/gated to who has the
// token "good", acme/bare without a tokenizer, and acme/files as GGUF files.
func tinyHub(t *testing.T) (env environ, asked *atomic.Int64) {
	t.Helper()
	dir := modeltest.Get(t, "qwen3").Dir
	files, asked := map[string][]byte{}, new(atomic.Int64)
	for _, name := range []string{"config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = data
	}
	files["tiny-BF16.gguf"] = modeltest.Get(t, "qwen3").GGUF(t, nil).Bytes()
	server := httptest.NewServer(nethttp.HandlerFunc(func(w nethttp.ResponseWriter, r *nethttp.Request) {
		asked.Add(1) // files are pulled side by side
		path := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
		switch {
		case strings.Contains(r.URL.Path, "gated") && r.Header.Get("Authorization") != "Bearer good":
			w.WriteHeader(nethttp.StatusUnauthorized)
		case strings.Contains(r.URL.Path, "/acme/none/") || strings.HasSuffix(r.URL.Path, "/revision/v9"):
			w.WriteHeader(nethttp.StatusNotFound)
		case path[0] == "api":
			var rows []string
			for name, data := range files {
				if (path[3] == "files") != strings.HasSuffix(name, ".gguf") {
					continue
				}
				if path[3] == "bare" && (strings.HasPrefix(name, "tokenizer") || strings.HasPrefix(name, "chat")) {
					continue
				}
				rows = append(rows, fmt.Sprintf(`{"rfilename": %q, "size": %d, "blobId": "%x"}`, name, len(data), sha1.Sum(fmt.Appendf(nil, "blob %d\x00%s", len(data), data))))
			}
			fmt.Fprintf(w, `{"sha": %q, "siblings": [%s]}`, tinyCommit, strings.Join(rows, ","))
		default:
			_, _ = w.Write(files[path[len(path)-1]]) // the client may be gone
		}
	}))
	t.Cleanup(server.Close)
	return environ{"HF_ENDPOINT": server.URL, "HF_HOME": t.TempDir()}, asked
}

// A model is pulled when it is not there, and used without a hub when it is.
func TestModelByName(t *testing.T) {
	env, asked := tinyHub(t)
	complete := []string{"complete", "--device", "cpu", "-n", "3", "--json", "hello", "--model"}
	for i, name := range []string{"acme/tiny", "acme/tiny", "acme/tiny:main", "acme/tiny:" + tinyCommit} {
		if i == 1 {
			asked.Store(0)
			env["HF_ENDPOINT"] = "http://127.0.0.1:1"
		}
		if status, stdout, stderr := invokeIn(t, env, "", append(complete, name)...); status != 0 || !strings.Contains(stdout, "finish_reason") || stderr != "" {
			t.Fatalf("%s: status %d, %q, %q", name, status, stdout, stderr)
		}
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("the hub was asked %d times for what was there", n)
	}
	// A directory of that name comes first.
	t.Chdir(t.TempDir())
	if err := os.MkdirAll(filepath.Join("acme", "tiny"), 0o755); err != nil {
		t.Fatal(err)
	}
	if status, _, stderr := invokeIn(t, env, "", append(complete, "acme/tiny")...); status != 1 || !strings.Contains(stderr, "config.json") {
		t.Errorf("an empty directory acme/tiny: status %d, %q", status, stderr)
	}
}

// What is taken for a name on a hub.
func TestOnHub(t *testing.T) {
	for _, c := range []struct {
		spec string
		want part
		name hubModel
		is   bool
	}{
		{spec: "acme/tiny", name: hubModel{"acme/tiny", "", ""}, is: true},
		{spec: "acme/tiny:v1.0", name: hubModel{"acme/tiny", "v1.0", ""}, is: true},
		{spec: "acme/tiny:Q4_K_M", name: hubModel{"acme/tiny", "", "Q4_K_M"}, is: true},
		{spec: "acme/tiny:UD-Q4_K_XL", name: hubModel{"acme/tiny", "", "UD-Q4_K_XL"}, is: true},
		{spec: "acme/tiny:refs/pr/3", name: hubModel{"acme/tiny", "refs/pr/3", ""}, is: true},
		{spec: "Qwen/Qwen3-0.6B", name: hubModel{"Qwen/Qwen3-0.6B", "", ""}, is: true},
		{spec: "Qwen/Qwen3-0.6B", want: tokenizing, name: hubModel{"Qwen/Qwen3-0.6B", "", ""}, is: true},
		{spec: "Qwen/Qwen3-0.6B", want: noWeights}, // a published configuration
		{spec: "Qwen/Qwen3-0.6B:v1", want: noWeights, name: hubModel{"Qwen/Qwen3-0.6B", "v1", ""}, is: true},
		{spec: "qwen3-0.6b"},
		{spec: "builtin"},
		{spec: "./acme/tiny"},
		{spec: "/acme/tiny"},
		{spec: "~/acme/tiny"},
		{spec: "a/b/c"},
		{spec: "../gpu"},
		{spec: "testdata/help"}, // a directory
	} {
		if name, is := onHub(c.spec, c.want); name != c.name || is != c.is {
			t.Errorf("%s for %d: %v, %v, want %v, %v", c.spec, c.want, name, is, c.name, c.is)
		}
	}
}

func TestModelByNameFails(t *testing.T) {
	for _, c := range []struct {
		name string
		env  environ
		want string
	}{
		{name: "acme/none", want: "404 Not Found: no such repository, revision (main) or file; and there is no directory acme/none"},
		{name: "acme/tiny:v9", want: "no such repository, revision (v9) or file"},
		{name: "acme/gated", want: "give a token (HF_TOKEN)"},
		{name: "acme/gated", env: environ{"HF_TOKEN": "bad"}, want: "use a token with access"},
		{name: "acme/files", want: "the repository has its weights in GGUF files: name one as OWNER/NAME:QUANTISATION; it has BF16"},
		{name: "acme/files:Q4_K_M", want: "it has no GGUF file in Q4_K_M; it has BF16"},
		{name: "acme/tiny", env: environ{"HF_HUB_OFFLINE": "1"}, want: "HF_HUB_OFFLINE keeps from asking"},
		{name: "acme/tiny", env: environ{"HF_HOME": ""}, want: "there is no home directory to keep models in: set HF_HOME"},
		{name: "acme/tiny", env: environ{"HF_ENDPOINT": "ftp://x"}, want: `endpoint "ftp://x"`},
	} {
		env, _ := tinyHub(t)
		for name, value := range c.env {
			env[name] = value
		}
		if status, _, stderr := invokeIn(t, env, "", "complete", "--model", c.name, "hello"); status != 1 || !strings.Contains(stderr, c.want) {
			t.Errorf("%s with %v: status %d, %q, want %q", c.name, c.env, status, stderr, c.want)
		}
	}
}

// Models are listed, shown and removed.
func TestListShowRemove(t *testing.T) {
	env, _ := tinyHub(t)
	env["HF_TOKEN"] = "good"
	steps := []struct {
		args string
		want []string
	}{
		{"list", []string{"builtin", "inside"}},
		{"pull acme/tiny", []string{filepath.Join(env["HF_HOME"], "hub", "models--acme--tiny", "snapshots", tinyCommit)}},
		{"pull acme/gated --revision v1", []string{"models--acme--gated"}},
		{"list", []string{"acme/tiny", "acme/gated:v1", "KiB", "Qwen3ForCausalLM"}},
		{"show acme/tiny", []string{"acme/tiny", "Qwen3ForCausalLM: 2 layers of 64", "168512", "bfloat16", "2048 tokens", "fits", "Chat        yes"}},
		{"show acme/bare", []string{"acme/bare", "Chat        no: there is no tokenizer.json"}},
		{"show qwen3-30b-a3b", []string{"30.53 billion, of which a token meets 3.35 billion"}},
		{"show builtin --json", []string{`"chat_template": true`}},
		{"list", []string{"acme/bare", "cannot be run: without model.safetensors"}},
		{"rm acme/tiny --yes", []string{"removed acme/tiny: "}},
		{"pull acme/files:BF16", []string{filepath.Join("snapshots", tinyCommit, "tiny-BF16.gguf")}},
		{"list", []string{"acme/files:BF16", "KiB", "Qwen3ForCausalLM"}},
		{"show acme/files:BF16", []string{"acme/files:BF16", "GGUF, bfloat16: embed, qkv, o, gate_up, down; float32: norms and biases", "Chat        no"}},
		{"__complete show acme/f", []string{"acme/files:BF16\n"}},
		{"rm acme/files:BF16 --yes", []string{"removed acme/files:BF16: "}},
		{"tokenize -m acme/tiny --count hello", []string{"\n"}},
		{"__complete show acme/", []string{"acme/gated\n"}},
		{"__complete rm ", []string{"acme/gated\n", ":4"}},
	}
	for _, step := range steps {
		status, stdout, stderr := invokeIn(t, env, "", strings.Fields(step.args)...)
		if strings.HasSuffix(step.args, " ") {
			status, stdout, stderr = invokeIn(t, env, "", "__complete", "rm", "")
		}
		if status != 0 {
			t.Errorf("%s: status %d, %s", step.args, status, stderr)
		}
		for _, want := range step.want {
			if !strings.Contains(stdout, want) {
				t.Errorf("%s prints\n%swant %q in it", step.args, stdout, want)
			}
		}
	}
	status, stdout, _ := invokeIn(t, env, "", "list", "--json")
	var all []Listed
	if err := json.Unmarshal([]byte(stdout), &all); err != nil || status != 0 || len(all) != 4 {
		t.Errorf("%d models in %s (%v)", len(all), stdout, err)
	}
	if status, _, stderr := invokeIn(t, env, "", "show", "acme/files:BF16"); status != 1 || !strings.Contains(stderr, "acme/files:BF16 is not here yet, and what a GGUF file has is known when it is: troupe pull") {
		t.Errorf("status %d, %q", status, stderr)
	}
	if status, _, stderr := invokeIn(t, env, "", "rm", "-y", "acme/none"); status != 1 || !strings.Contains(stderr, "there is no acme/none in") {
		t.Errorf("status %d, %q", status, stderr)
	}
}

// Who starts a server is told what its checkpoint does not allow.
func TestServeSaysWhatIsLacking(t *testing.T) {
	env, _ := tinyHub(t)
	if status, _, stderr := invokeIn(t, env, "", "pull", "acme/bare"); status != 0 {
		t.Fatal(stderr)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // it starts, and ends at once
	var out, errs bytes.Buffer
	run(ctx, []string{"serve", "--port", "0", "--model", "acme/bare", "--device", "cpu"}, stdio{in: strings.NewReader(""), out: &out, err: &errs, env: env})
	if !strings.Contains(out.String(), "Ready: acme/bare") || !strings.Contains(errs.String(), "the checkpoint has no tokenizer.json") {
		t.Errorf("it says %s and %s", &out, &errs)
	}
}

// Where the cache is, as huggingface_hub finds it.
func TestHubOfEnvironment(t *testing.T) {
	home := t.TempDir()
	if err := os.WriteFile(filepath.Join(home, "token"), []byte("logged in\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		env          environ
		cache, token string
	}{
		{environ{"HOME": "/h"}, "/h/.cache/huggingface/hub", ""},
		{environ{"HOME": "/h", "XDG_CACHE_HOME": "/x"}, "/x/huggingface/hub", ""},
		{environ{"HOME": "/h", "HF_HOME": "~/f"}, "/h/f/hub", ""},
		{environ{"HOME": "/h", "HF_HOME": "/f", "HF_HUB_CACHE": "/c"}, "/c", ""},
		{environ{"HF_HUB_CACHE": "/c"}, "/c", ""},
		{environ{"HUGGINGFACE_HUB_CACHE": "/c"}, "/c", ""},
		{environ{"HF_HOME": home}, filepath.Join(home, "hub"), "logged in"},
		{environ{"HF_HOME": home, "HF_TOKEN": "given"}, filepath.Join(home, "hub"), "given"},
		{environ{"HF_HOME": home, "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}, filepath.Join(home, "hub"), ""},
		{environ{"HOME": "/h", "HF_TOKEN_PATH": filepath.Join(home, "token")}, "/h/.cache/huggingface/hub", "logged in"},
	} {
		got, err := c.env.hub()
		if err != nil || filepath.ToSlash(got.Cache) != filepath.ToSlash(c.cache) || got.Token != c.token {
			t.Errorf("%v: %q, %q (%v), want %q, %q", c.env, got.Cache, got.Token, err, c.cache, c.token)
		}
	}
}

func TestModelsNobodyHeardOf(t *testing.T) {
	for _, c := range [][]string{{"nosuch", `no model "nosuch"`}, {"qwen3-14", `did you mean "qwen3-14b"?`}} {
		for _, args := range [][]string{{"run", c[0]}, {"show", c[0]}, {"serve", "--model", c[0]}, {"complete", "--model", c[0], "Hello"}} {
			status, _, stderr := invokeIn(t, nil, "", args...)
			if status != 1 || !strings.Contains(stderr, c[1]) || !strings.Contains(stderr, "OWNER/NAME, as Qwen/Qwen3-0.6B") {
				t.Errorf("%q: status %d, %s", args, status, stderr)
			}
		}
	}
}

func TestRoom(t *testing.T) {
	m, err := model.Open("qwen3-0.6b", true)
	if err != nil {
		t.Fatal(err)
	}
	const gib = 1 << 30
	for _, c := range []struct {
		usable    int64
		processor bool
		fits      bool
		tokens    int
		advice    string
	}{
		{100 * gib, true, true, 40960, ""},
		{4 * gib, true, true, 27056, "--dtype int8 ("},
		{8 * gib, false, true, 40960, ""},
		{3 * gib, false, true, 17692, "longer requests fit with --quantization fp8 ("},
		{gib, true, false, 0, "--dtype int8 needs 586.1 MiB for its weights, which leaves room for 4003 tokens"},
		{gib, false, false, 0, "--quantization fp8 needs 718.2 MiB for its weights, which leaves room for 2796 tokens"},
		{gib / 2, false, false, 0, "it takes 645.1 MiB at least"},
		{gib / 2, true, false, 0, "--dtype int4 needs 339.0 MiB for its weights, which leaves room for 1581 tokens"},
		{gib / 3, true, false, 0, "it takes 451.0 MiB at least"},
		{0, true, false, 0, "not known"},
	} {
		ways := onGPU(m, device.Hopper)
		if c.processor {
			ways = onProcessor(m)
		}
		r := roomOf(m, "x", c.usable, ways)
		if r.Fits != c.fits || r.Tokens != c.tokens || !strings.Contains(r.Advice, c.advice) || c.advice == "" && r.Advice != "" {
			t.Errorf("%d of a processor %v: %+v", c.usable, c.processor, r)
		}
	}
}

// What a GPU holds of a quantised checkpoint is what package cuda holds there, whatever
// config.json calls its type.
func TestQuantizedOnGPU(t *testing.T) {
	dir, is := modeltest.Fixtures()
	if !is {
		t.Skip("the quantised checkpoints lie beside the repository")
	}
	for name, want := range map[string]string{
		"qwen3-gptq": "bfloat16, projections int4 by blocks", "qwen3-fp8-channel": "bfloat16, projections float8_e4m3 by output", "gpt-oss-mxfp4": "bfloat16, experts mxfp4 by blocks",
	} {
		m, err := model.Open(filepath.Join(dir, "families", name), false)
		if err != nil {
			t.Fatal(err)
		}
		r := roomOf(m, "cuda:0", 1<<30, onGPU(m, device.Hopper))
		plain := m.WeightBytes(model.HeldAs(model.BFloat16))
		if r.DType != want || r.Weights >= plain {
			t.Errorf("%s: %d bytes as %s, want %s; in bfloat16 %d", name, r.Weights, r.DType, want, plain)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestSizesAndAgesAsText(t *testing.T) {
	for n, want := range map[int64]string{5: "5 B", 1536: "1.5 KiB", 5 << 20: "5.0 MiB", 3 << 30: "3.0 GiB", 2 << 40: "2.0 TiB", 4000 << 40: "4000.0 TiB"} {
		if got := bytesText(n); got != want {
			t.Errorf("%d is %s, want %s", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{time.Second: "now", 90 * time.Second: "1 minute ago", 5 * time.Hour: "5 hours ago", 49 * time.Hour: "2 days ago"} {
		if got := ageText(d); got != want {
			t.Errorf("%v is %s, want %s", d, got, want)
		}
	}
}
