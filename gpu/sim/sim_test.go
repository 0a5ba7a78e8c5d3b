package sim

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
)

func published(t testing.TB, name string) *model.Model {
	m, err := model.Open(name, true)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func engine(t testing.TB, name string) *Engine {
	e, err := New(device.Spec{Device: name, Model: published(t, "qwen3-0.6b"), Slots: 4, PageSize: 4, NumPages: 64, MaxSeqLen: 64, MaxStepTokens: 32})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// prefill is a step that gives slot to a request, enters its pages and
// computes tokens from position start on.
func prefill(seq uint64, slot, start int32, pages []int32, tokens []int32) *batch.Step {
	s := &batch.Step{
		Seq: seq, NumTokens: len(tokens), Slots: []batch.SlotInit{{Slot: slot}},
		Rows: []batch.Row{{Slot: slot, Start: start, Tokens: tokens, Sample: true}},
	}
	for i, p := range pages {
		s.Pages = append(s.Pages, batch.PageEntry{Slot: slot, Index: int32(i), Page: p})
	}
	return s
}

func decode(seq uint64, slot, start int32) *batch.Step {
	return &batch.Step{Seq: seq, NumTokens: 1, NumDecode: 1, Rows: []batch.Row{{Slot: slot, Start: start, Sample: true}}}
}

func mustRun(t *testing.T, e *Engine, steps ...*batch.Step) []int32 {
	t.Helper()
	var drawn []int32
	var r batch.Result
	for _, s := range steps {
		if _, err := e.Run(s, &r); err != nil {
			t.Fatal(err)
		}
		for _, tok := range r.Tokens {
			if tok != batch.NoToken {
				drawn = append(drawn, tok)
			}
		}
	}
	return drawn
}

func TestTokensDependOnHistoryAlone(t *testing.T) {
	prompt := []int32{5, 6, 7, 8, 9, 10}
	want := mustRun(t, engine(t, "sim:h200"), prefill(1, 0, 0, []int32{0, 1}, prompt), decode(2, 0, 6), decode(3, 0, 7))

	chunk := prefill(1, 2, 0, []int32{9, 3}, prompt[:5])
	chunk.Rows[0].Sample = false
	rest := prefill(2, 2, 5, nil, prompt[5:])
	rest.Slots = nil
	chunked := mustRun(t, engine(t, "sim:4090"), chunk, rest, decode(3, 2, 6), decode(4, 2, 7))
	if !slices.Equal(chunked, want) {
		t.Errorf("in chunks: %v, want %v", chunked, want)
	}

	e := engine(t, "sim:h200")
	mustRun(t, e, prefill(1, 0, 0, []int32{0, 1}, []int32{5, 6, 7, 8, 1}))
	shared := mustRun(t, e, prefill(2, 1, 4, []int32{0, 2}, prompt[4:]), decode(3, 1, 6), decode(4, 1, 7))
	if !slices.Equal(shared, want) {
		t.Errorf("behind a shared page: %v, want %v", shared, want)
	}

	other := mustRun(t, engine(t, "sim:h200"), prefill(1, 0, 0, []int32{0, 1}, []int32{5, 6, 7, 8, 9, 11}))
	if other[0] == want[0] {
		t.Error("another prompt, the same token")
	}
}

func TestEndOfSequenceOnlyWhenAsked(t *testing.T) {
	eos := published(t, "qwen3-0.6b").Config.EOS
	ends := func(name string) (n int) {
		e := engine(t, name)
		for p := range int32(2000) {
			for _, tok := range mustRun(t, e, prefill(uint64(p+1), 0, 0, []int32{0}, []int32{p})) {
				if slices.Contains(eos, tok) {
					n++
				}
			}
		}
		return n
	}
	if n := ends("sim:h200"); n != 0 {
		t.Errorf("%d ends of sequence nobody asked for", n)
	}
	if n := ends("sim:h200,eos=20"); n < 60 || n > 150 {
		t.Errorf("%d ends of sequence in 2000 tokens, want about 100", n)
	}
}

// Drafts that are right save steps; what is drawn, and what is computed behind those that
// are not, is the same without them.
func TestDrafts(t *testing.T) {
	prompt := []int32{5, 6, 7}
	want := mustRun(t, engine(t, "sim:h200"), prefill(1, 0, 0, []int32{0, 1, 2}, prompt), decode(2, 0, 3), decode(3, 0, 4), decode(4, 0, 5), decode(5, 0, 6))
	for right := range 4 {
		e := engine(t, "sim:h200")
		got := mustRun(t, e, prefill(1, 0, 0, []int32{0, 1, 2}, prompt))
		drafts := slices.Clone(want[1:4])
		if right < len(drafts) {
			drafts[right]++
		}
		s := &batch.Step{Seq: 2, NumTokens: 4, Rows: []batch.Row{{Slot: 0, Start: 3, Tokens: append(got[:1:1], drafts...), Sample: true, Drafts: 3}}}
		got = append(got, mustRun(t, e, s)...)
		if !slices.Equal(got, want[:right+2]) {
			t.Errorf("%d accepted: %v, want %v", right, got, want[:right+2])
		}
		for n := len(got); n < len(want); n++ {
			got = append(got, mustRun(t, e, decode(uint64(n), 0, int32(2+n)))...)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%d accepted, and then: %v, want %v", right, got, want)
		}
	}
}

// Under the option repeat most tokens are those of a period before.
func TestRepeats(t *testing.T) {
	e := engine(t, "sim:h200,repeat=5")
	got := mustRun(t, e, prefill(1, 0, 0, []int32{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, []int32{1}))
	for n := int32(1); n < 60; n++ {
		got = append(got, mustRun(t, e, decode(uint64(n+1), 0, n))...)
	}
	same := 0
	for i := 5; i < len(got); i++ {
		if got[i] == got[i-5] {
			same++
		}
	}
	if same < 35 || same == len(got)-5 {
		t.Errorf("%d of %d tokens are those of five before: want most, but not all", same, len(got)-5)
	}
}

func TestDrawsWithinBounds(t *testing.T) {
	e := engine(t, "sim:h200")
	allow := make([]uint32, batch.MaskWords(e.info.Vocab))
	allow[2] = 1<<5 | 1<<9
	s := prefill(1, 0, 0, []int32{0}, []int32{1})
	s.Rows[0].Allow = allow
	s.Slots[0].Sampling = batch.Sampling{Suppress: []int32{69}, SuppressBelow: 2, Logprobs: 3}
	var r batch.Result
	if _, err := e.Run(s, &r); err != nil {
		t.Fatal(err)
	}
	if r.Tokens[0] != 73 {
		t.Errorf("drew %d; 69 and 73 are allowed, 69 is suppressed", r.Tokens[0])
	}
	if l := r.Logprobs[0]; len(l.Top) != 2 || l.Top[0].Token != 73 || l.Top[0].Logprob != l.Token || l.Top[1].Logprob >= l.Token {
		t.Errorf("logprobs %+v", l)
	}
}

// A prompt's tokens have log-probabilities as those that are drawn, and to say
// so takes a head's time.
func TestScores(t *testing.T) {
	e := engine(t, "sim:h200")
	s := prefill(1, 0, 0, []int32{0}, []int32{1, 2, 3})
	s.Rows[0].Sample = false
	s.Slots[0].Sampling.Logprobs = 2
	plain := e.roof.Step(s)
	s.Rows[0].Score = []int32{2, 3}
	if took := e.roof.Step(s); took <= plain || took > 2*plain {
		t.Errorf("two scores take it from %v to %v", plain, took)
	}
	var r batch.Result
	if _, err := e.Run(s, &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Scores) != 2 || r.Tokens[0] != batch.NoToken {
		t.Fatalf("tokens %v, scores %+v", r.Tokens, r.Scores)
	}
	for i, l := range r.Scores {
		if l.Token >= 0 || len(l.Top) != 1 || l.Top[0].Token != s.Rows[0].Score[i] || l.Top[0].Logprob != l.Token {
			t.Errorf("score %d: %+v", i, l)
		}
	}
}

// What any device refuses, and rows whose history is not in their pages.
func TestRefusesWhatADeviceCannotRun(t *testing.T) {
	unwritten := prefill(2, 1, 3, []int32{2, 3}, []int32{4, 5})
	overwriting := prefill(2, 1, 0, []int32{0, 1}, []int32{9, 9, 9, 9, 9, 9})
	overwriting.Rows = slices.Insert(overwriting.Rows, 0, decode(2, 0, 5).Rows...)
	overwriting.NumDecode, overwriting.NumTokens = 1, 7
	for want, steps := range map[string][]*batch.Step{
		"sim: step 2: row 0 (slot 0): start 6; the slot holds 5 tokens":                              {decode(2, 0, 6)},
		"sim: step 2: row 0 (slot 1): start 3: position 2 is not what the slot's history left there": {unwritten},
		"sim: step 3: row 0 (slot 0): start 6: position 5 is not what the slot's history left there": {overwriting, decode(3, 0, 6)},
	} {
		e := engine(t, "sim:h200")
		last := len(steps) - 1
		mustRun(t, e, prefill(1, 0, 0, []int32{0, 1}, []int32{1, 2, 3, 4, 5}))
		mustRun(t, e, steps[:last]...)
		if _, err := e.Run(steps[last], &batch.Result{}); err == nil || err.Error() != want {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

// As on other devices, a slot that could draw nothing goes on: the next step may
// have been launched already when that is known.
func TestGoesOnWhereNothingCouldBeDrawn(t *testing.T) {
	e := engine(t, "sim:h200")
	s := prefill(1, 0, 0, []int32{0, 1}, []int32{1, 2, 3})
	s.Rows[0].Allow = make([]uint32, batch.MaskWords(e.info.Vocab))
	if drawn := mustRun(t, e, s, decode(2, 0, 3)); len(drawn) != 1 {
		t.Errorf("drawn %v, want one token, of the second step", drawn)
	}
}

// Memory that no slot could fill is left free, as on a GPU.
func TestSizes(t *testing.T) {
	e, err := New(device.Spec{Device: "sim:h200", Model: published(t, "qwen3-0.6b"), Slots: 8, MaxSeqLen: 1024})
	if err != nil {
		t.Fatal(err)
	}
	i := e.info
	if i.NumPages != 8*64 || i.KVBytes != 8*1024*114688 || i.FreeBytes != 141e9-i.WeightBytes-i.KVBytes {
		t.Errorf("%+v", i)
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	m := published(t, "qwen3-14b")
	for _, c := range []struct {
		spec device.Spec
		want string
	}{
		{device.Spec{Device: "sim:b9000"}, "one of h200, h100, a100, l40s, 4090"},
		{device.Spec{Device: "sim:h200,tp=0"}, `tp is "0"`},
		{device.Spec{Device: "sim:h200,speed=-1"}, `speed is "-1"`},
		{device.Spec{Device: "sim:h200,step=-1ms"}, `step is "-1ms"; it must be a duration`},
		{device.Spec{Device: "sim:h200,warp=9"}, `unknown option "warp"`},
		{device.Spec{Device: "sim:h200,tp=3"}, "sim: the model cannot be shared by 3: attention: 40 heads cannot be shared by 3"},
		{device.Spec{Device: "sim:4090"}, "sim: no memory for pages"},
		{device.Spec{Device: "sim:h200", Slots: -1}, "sim: slots is -1"},
		{device.Spec{Device: "sim:h200", KVDType: model.Int8}, `sim: keys and values of type "int8" beside weights of "bfloat16"; they are simulated with the same`},
		{device.Spec{Device: "sim:h200", DType: model.Int8}, `sim: weights of type "int8"; GPUs are simulated with bfloat16, float32 or int4, the processor ("cpu") takes int8 as well`},
		{device.Spec{Device: "sim:a100", Quantization: model.FP8}, `NVIDIA A100 SXM 80GB: quantization "fp8" on compute capability 8.0; products of FP8 are computed on 9.0`},
		{device.Spec{Device: "sim:h200", DType: model.Int4, Quantization: model.FP8}, `weights of type "int4" and quantization "fp8"; one of them`},
	} {
		c.spec.Model = m
		_, err := Open(c.spec)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: error %v, want %q", c.spec, err, c.want)
		}
	}
}

// decodes is a step of rows decodes, each with a context of length.
func decodes(rows, length int32) *batch.Step {
	s := &batch.Step{NumDecode: int(rows), NumTokens: int(rows)}
	for range rows {
		s.Rows = append(s.Rows, batch.Row{Start: length - 1, Sample: true})
	}
	return s
}

// The limits that memory and arithmetic set on an H200, worked out by hand:
// 14.77e9 weights of which an embedding of 0.78e9 is not read, 163,840 bytes a
// position of keys and values.
func TestRooflineOfAnH200(t *testing.T) {
	e, err := New(device.Spec{Device: "sim:h200", Model: published(t, "qwen3-14b")})
	if err != nil {
		t.Fatal(err)
	}
	if k := e.info.NumPages * e.info.PageSize / 1000; k < 580 || k > 610 {
		t.Errorf("%d thousand positions fit, want (0.9·141 GB − 29.5 GB) / 163,840 B = 594", k)
	}
	within := func(what string, got, low, high float64) {
		t.Helper()
		if got < low || got > high {
			t.Errorf("%s takes %.3f ms, want %.3f to %.3f", what, got, low, high)
		}
	}
	ms := func(s *batch.Step) float64 { return e.roof.Step(s).Seconds() * 1e3 }
	one := ms(decodes(1, 1))
	// Weights at 0.836·4.8 TB/s, 247 kernels, 6.6 µs more in 40 attentions.
	within("one decode", one, 6.97+0.59+0.25, 6.97+0.61+0.28)
	// Reading what 256·800 positions left takes 7.94 ms at 0.88·4.8 TB/s. 256
	// rows make the products, of 651 TFLOP/s, 4.9 ms longer than reading the
	// weights; 7 starts more in a layer 0.7 ms, activations 0.5, logits 0.1.
	within("256 decodes of 800 more", ms(decodes(256, 800))-one, 14.05, 14.25)
	prompt := &batch.Step{NumTokens: 8192, Rows: []batch.Row{{Tokens: make([]int32, 8192), Sample: true}}}
	// 26.4e9·8192 FLOP in products at 651 TFLOP/s, 27.5e12 in attention at 664,
	// 65 GB of activations, 526 starts.
	within("a prompt of 8192", ms(prompt), 332.2+41.3+16.1+1.2, 333.3+41.6+16.4+1.4)

	two, err := New(device.Spec{Device: "sim:h200,tp=2", Model: published(t, "qwen3-14b")})
	if err != nil {
		t.Fatal(err)
	}
	if a, b := e.roof.Step(prompt), two.roof.Step(prompt); b < a/2 || b > a*2/3 {
		t.Errorf("two GPUs take %v for a prompt, one %v", b, a)
	}
	if a, b := e.info.NumPages, two.info.NumPages; b < 2*a {
		t.Errorf("two GPUs have %d pages, one %d", b, a)
	}
}

// A step reads the experts its tokens touch. By hand, in weights of 2 bytes at
// 4.01 TB/s: attention and routers 0.919e9, an expert of every layer 0.2265e9,
// the head 0.311e9. 487 starts of 2.41 µs and attention's 48 of 6.6 µs are
// 1.49 ms more.
func TestRooflineOfExperts(t *testing.T) {
	e, err := New(device.Spec{Device: "sim:h200", Model: published(t, "qwen3-30b-a3b")})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		tokens            int32
		experts, low, top float64 // low and top: what else is in the step, ms
	}{
		{1, 8, 1.48, 1.51},
		{2, 15.5, 1.48, 1.51},
		{16, 82.42, 1.49, 1.55},
		// 288 starts more 0.7, arithmetic 0.44, activations 0.66, logits 0.12.
		{256, 128, 1.49 + 1.88, 1.49 + 1.98},
	} {
		got := e.roof.Step(decodes(c.tokens, 1)).Seconds() * 1e3
		weights := (0.919e9 + 0.311e9 + c.experts*0.2265e9) * 2 / 4.0128e9
		if rest := got - weights; rest < c.low || rest > c.top {
			t.Errorf("%d decodes take %.3f ms, %.3f beside reading %v experts; want %.2f to %.2f", c.tokens, got, rest, c.experts, c.low, c.top)
		}
	}
	if e.info.WeightBytes != 2*30_532_122_624 {
		t.Errorf("weights take %d bytes: all experts lie in memory", e.info.WeightBytes)
	}
}

func TestDeviceKeepsItsSchedule(t *testing.T) {
	d, err := Open(device.Spec{Device: "sim:h200,speed=1000,fail=4", Model: published(t, "qwen3-0.6b"), NumPages: 64, MaxSeqLen: 64})
	if err != nil {
		t.Fatal(err)
	}
	var a, b batch.Result
	if err := d.Wait(&a); err == nil {
		t.Error("waited for nothing")
	}
	launch := func(s *batch.Step) {
		t.Helper()
		if err := d.Launch(s); err != nil {
			t.Fatal(err)
		}
	}
	launch(prefill(1, 0, 0, []int32{0, 1}, []int32{1, 2, 3}))
	launch(decode(2, 0, 3))
	if err := d.Launch(decode(3, 0, 4)); err == nil || !strings.Contains(err.Error(), "most allowed") {
		t.Errorf("a third step outstanding: %v", err)
	}
	for i, r := range []*batch.Result{&a, &b} {
		if err := d.Wait(r); err != nil {
			t.Fatal(err)
		}
		if r.Seq != uint64(i+1) || len(r.Tokens) != 1 || r.Ended <= r.Began || batch.Now() < r.Ended {
			t.Errorf("result %d at %d: %+v", i+1, batch.Now(), *r)
		}
	}
	if b.Began < a.Ended {
		t.Errorf("step 2 began at %d, before step 1 ended at %d", b.Began, a.Ended)
	}
	launch(decode(3, 0, 4))
	launch(decode(4, 0, 5))
	if err := d.Wait(&a); err != nil {
		t.Fatal(err)
	}
	if err := d.Wait(&a); err == nil || !strings.Contains(err.Error(), "failed") {
		t.Errorf("step 4 was to fail: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

func TestStepsTakeAtLeast(t *testing.T) {
	for _, speed := range []string{"inf", "1e6", "1e-3"} {
		e, err := New(device.Spec{Device: "sim:h200,step=20ms,speed=" + speed, Model: published(t, "qwen3-0.6b"), NumPages: 64, MaxSeqLen: 64})
		if err != nil {
			t.Fatal(err)
		}
		var r batch.Result
		took, err := e.Run(prefill(1, 0, 0, []int32{0, 1}, []int32{1, 2, 3}), &r)
		if slow := speed == "1e-3"; err != nil || slow != (took > 20*time.Millisecond) || took < 20*time.Millisecond {
			t.Errorf("speed %s: a step took %v, %v", speed, took, err)
		}
	}
}

func ExampleNew() {
	m, _ := model.Open("qwen3-0.6b", true)
	e, _ := New(device.Spec{Device: "sim:4090", Model: m})
	fmt.Println(e.Info().Hardware, e.Info().NumPages)
	// Output: simulated NVIDIA GeForce RTX 4090 11121
}
