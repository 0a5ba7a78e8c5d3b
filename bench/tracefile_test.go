package bench

import (
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// One small trace of each format, as they are published.
var smallTraces = map[TraceFormat]string{
	Qwen: `{"chat_id": 0, "parent_chat_id": -1, "timestamp": 10.0, "input_length": 40, "output_length": 5, "type": "text", "turn": 1, "hash_ids": [0, 1, 2]}
{"chat_id": 1, "parent_chat_id": -1, "timestamp": 10.25, "input_length": 33, "output_length": 7, "type": "search", "turn": 1, "hash_ids": [0, 1, 9]}
{"chat_id": 2, "parent_chat_id": 0, "timestamp": 12.5, "input_length": 64, "output_length": 1, "type": "text", "turn": 2, "hash_ids": [0, 1, 3, 4]}
`,
	Mooncake: `{"timestamp": 0, "input_length": 600, "output_length": 5, "hash_ids": [0, 1]}

{"timestamp": 250, "input_length": 1100, "output_length": 7, "hash_ids": [0, 1, 9]}
{"timestamp": 2500, "input_length": 513, "output_length": 1, "hash_ids": [7, 1]}
`,
	Azure: "TIMESTAMP,ContextTokens,GeneratedTokens\r\n" +
		"2023-11-16 18:17:03.9799600,4808,5\r\n2023-11-16 18:17:04.2299600,31,7\r\n2023-11-16 18:17:06.4799600,9,1",
	BurstGPT: `Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type
5,s1,1.5,ChatGPT,472,5,477,Conversation log
5.25,,2,GPT-4,1087,7,1094,API log
6,,0,GPT-4,12,0,12,API log
7.5,,1,ChatGPT,3,1,4,Conversation log
`,
}

func TestReadTrace(t *testing.T) {
	inputs := map[TraceFormat][]int{Qwen: {40, 33, 64}, Mooncake: {600, 1100, 513}, Azure: {4808, 31, 9}, BurstGPT: {472, 1087, 3}}
	for format, text := range smallTraces {
		trace, err := ReadTrace(strings.NewReader("\ufeff"+text), "", 0)
		if err != nil {
			t.Errorf("%s: %v", format, err)
			continue
		}
		if trace.Format != format {
			t.Errorf("%s is taken for %s", format, trace.Format)
		}
		if packed, err := ReadTrace(strings.NewReader(gzipped(t, text)), "", 0); err != nil || !reflect.DeepEqual(packed, trace) {
			t.Errorf("%s, gzipped: %+v, %v", format, packed, err)
		}
		var at []time.Duration
		var in, out []int
		for a := range trace.Replay(2, 1000, 0) {
			at, in, out = append(at, a.At), append(in, len(a.Tokens)), append(out, a.MaxTokens)
			if slices.Max(a.Tokens) >= 1000 || slices.Min(a.Tokens) < 0 {
				t.Errorf("%s: tokens beyond the vocabulary", format)
			}
		}
		if !slices.Equal(at, []time.Duration{0, time.Second / 2, 5 * time.Second}) {
			t.Errorf("%s: with times doubled, requests come at %v", format, at)
		}
		if !slices.Equal(in, inputs[format]) || !slices.Equal(out, []int{5, 7, 1}) {
			t.Errorf("%s: %v tokens in, %v out", format, in, out)
		}
		sum := in[0] + in[1] + in[2]
		if got, want := trace.Total(), (Progress{Requests: 3, PrefillAll: sum, DecodeAll: 10}); got != want {
			t.Errorf("%s: total %+v, want %+v", format, got, want)
		}
		if some, err := ReadTrace(strings.NewReader(text), format, 2); err != nil || len(some.Requests) != 2 {
			t.Errorf("%s, with a limit of 2: %+v, %v", format, some, err)
		}
		if skipped := trace.Skipped; (format == BurstGPT) != (skipped == 1) {
			t.Errorf("%s: %d rows skipped", format, skipped)
		}
	}
}

func gzipped(t *testing.T, text string) string {
	t.Helper()
	var b strings.Builder
	w := gzip.NewWriter(&b)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Two prompts share what their hashes share, to the token, and nothing more.
func TestHashesBecomeSharedPrefixes(t *testing.T) {
	for _, c := range []struct {
		format TraceFormat
		shared [3]int // tokens that requests 0 and 1, 0 and 2, 1 and 2 begin with in common
	}{{Qwen, [3]int{32, 32, 32}}, {Mooncake, [3]int{600, 0, 0}}, {Azure, [3]int{}}, {BurstGPT, [3]int{}}} {
		trace, err := ReadTrace(strings.NewReader(smallTraces[c.format]), "", 0)
		if err != nil {
			t.Fatal(err)
		}
		var prompts, salted [3][]int32
		for i := range prompts {
			prompts[i], salted[i] = trace.Requests[i].Tokens(1<<30, 0), trace.Requests[i].Tokens(1<<30, 1)
		}
		common := func(a, b []int32) (n int) {
			for n < min(len(a), len(b)) && a[n] == b[n] {
				n++
			}
			return n
		}
		for k, pair := range [][2]int{{0, 1}, {0, 2}, {1, 2}} {
			i, j := pair[0], pair[1]
			a, b := common(prompts[i], prompts[j]), common(salted[i], salted[j])
			if a != c.shared[k] || b != a {
				t.Errorf("%s: requests %v begin with %d tokens in common, with salt %d; want %d", c.format, pair, a, b, c.shared[k])
			}
			if n := common(prompts[i], salted[j]) + common(salted[i], prompts[j]); n > 0 {
				t.Errorf("%s: requests %v share tokens over a salt", c.format, pair)
			}
		}
	}
}

func TestTracesAreSortedByTime(t *testing.T) {
	const text = "Timestamp,Request tokens,Response tokens\n9,1,1\n7,2,1\n9,3,1\n8,4,1\n"
	trace, err := ReadTrace(strings.NewReader(text), "", 3)
	if err != nil {
		t.Fatal(err)
	}
	var in []int
	for _, r := range trace.Requests {
		in = append(in, r.Input)
	}
	if !slices.Equal(in, []int{2, 1, 3}) || trace.Requests[0].At != 0 || trace.Requests[2].At != 2*time.Second {
		t.Errorf("%+v", trace.Requests)
	}
}

func TestAzureTimes(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"2023-01-01 00:00:01":              time.Second,
		"2023-01-01 00:00:00.0000001":      100,
		"2023-01-02 00:00:00.009930+00:00": 24*time.Hour + 9930*time.Microsecond,
		"2023-01-01 02:00:00+02:00":        0,
		"2023-01-01 00:00:00Z":             0,
	} {
		if got, err := Azure.parseTime(text); err != nil || got != want {
			t.Errorf("%s: %v, %v; want %v", text, got, err, want)
		}
	}
}

func TestReadTraceSaysWhatIsWrong(t *testing.T) {
	const burst = "Timestamp,Request tokens,Response tokens\n"
	for _, c := range []struct {
		format     TraceFormat
		text, want string
	}{
		{"", " \n", "it is empty"},
		{"", "\x1f\x8b", "trace: "},
		{"", "a,b,c\n", "no format known"},
		{"other", "{}", `format "other"`},
		{Mooncake, "", "it holds no requests"},
		{Mooncake, `{"timestamp": "1"}`, "line 1: its timestamp is a string, want a number"},
		{Mooncake, `{"timestamp": 1, "hash_ids": ["a"]}`, "its hash_ids is a string, want a list of whole numbers"},
		{Mooncake, `{"timestamp": 1, "input_length": 1.5}`, "its input_length is a number 1.5, want a whole number"},
		{Mooncake, `{"timestamp": 0`, "line 1: unexpected end"},
		{Mooncake, "\n" + `{"input_length": 1, "output_length": 1, "hash_ids": [1]}`, "line 2: no timestamp"},
		{Mooncake, `{"timestamp": 0, "input_length": -1, "output_length": 1, "hash_ids": []}`, "-1 tokens in"},
		{Mooncake, `{"timestamp": 0, "input_length": 512, "output_length": 1, "hash_ids": [1, 2]}`, "2 hashes for 512 tokens"},
		{Mooncake, smallTraces[Qwen], "line 1: 3 hashes for 40 tokens in, 512 a hash: want 1"},
		{Azure, burst, `a trace of format azure has ["TIMESTAMP"`},
		{BurstGPT, burst + "1,2,x\n", `line 2: "2" tokens in, "x" out`},
		{BurstGPT, burst + "1,2,3\nnow,2,3\n", `line 3: its time is "now"`},
		{BurstGPT, burst + "1,2,1000000000\n", "line 2: 2 tokens in, 1000000000 out: at most"},
		{BurstGPT, burst + "1,2\n", "line 2: wrong number of fields"},
		{BurstGPT, burst + "1,2,\"3", "line 2"},
		{BurstGPT, burst + "NaN,2,3", `its time is "NaN"`},
		{Qwen, `{"timestamp": 1e300, "input_length": 1, "output_length": 1, "hash_ids": [1]}`, "decades"},
		{Azure, "TIMESTAMP,ContextTokens,GeneratedTokens\nyesterday,1,1\n", `line 2: its time is "yesterday"`},
	} {
		if _, err := ReadTrace(strings.NewReader(c.text), c.format, 0); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q as %q: error %v, want %q", c.text, c.format, err, c.want)
		}
	}
}

// The published traces, whole.
func TestPublishedTraces(t *testing.T) {
	for name, want := range map[string]struct {
		format TraceFormat
		rows   int
	}{
		"mooncake_conversation_trace.jsonl": {Mooncake, 12031},
		"mooncake_synthetic_trace.jsonl":    {Mooncake, 3993},
		"mooncake_trace_1000.jsonl":         {Mooncake, 1000},
		"AzureLLMInferenceTrace_conv.csv":   {Azure, 19366},
		"AzureLLMInferenceTrace_code.csv":   {Azure, 8819},
	} {
		file, err := os.Open(filepath.Join("..", "..", "shared", "traces", name))
		if errors.Is(err, fs.ErrNotExist) {
			t.Skip("no traces beside the repository: ", err)
		} else if err != nil {
			t.Fatal(err)
		}
		trace, err := ReadTrace(file, "", 0)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if trace.Format != want.format || len(trace.Requests)+trace.Skipped != want.rows {
			t.Errorf("%s: %s, %d requests, %d skipped; want %d rows of %s", name, trace.Format, len(trace.Requests), trace.Skipped, want.rows, want.format)
		}
		if err := file.Close(); err != nil {
			t.Error(err)
		}
	}
}

func FuzzReadTrace(f *testing.F) {
	for _, text := range smallTraces {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		trace, err := ReadTrace(strings.NewReader(string(data)), "", 10)
		if err != nil {
			return
		}
		for i := range trace.Requests {
			r := &trace.Requests[i]
			if r.Input < 1 || r.Output < 1 || r.At < 0 {
				t.Errorf("read %+v", r)
			}
		}
	})
}
