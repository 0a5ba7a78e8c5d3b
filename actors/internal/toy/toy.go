// Package toy is a device and a tokenizer for tests: cheap, and wrong at once if a step misses, repeats
// or mixes up a token.
package toy

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing/fstest"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/tokenize"
)

// Vocab is how many tokens there are, unless Sizes says otherwise.
const Vocab = 97

// Device is one whose model is "the next token is the sum of all tokens so far plus
// one, modulo Vocab". Logprobs are the token's negative. Its slots remember no other
// slot's tokens, so it wants a naive cache.
type Device struct {
	Sizes device.Info      // what it says of itself; may be changed before it is opened
	Gate  func(seq uint64) // when set, called as a step is waited for

	FailAt  uint64 // Wait of this step fails; 0: never
	PanicAt uint64 // Launch of this step panics; 0: never

	seats []seat
	queue chan batch.Result
	mu    sync.Mutex
	done  bool
}

type seat struct {
	sum, last int32
	length    int32
}

// New is a device of a few slots.
func New() *Device {
	d := &Device{queue: make(chan batch.Result, device.MaxOutstanding)}
	d.Sizes = device.Info{Name: "toy", Slots: 8, PageSize: 4, NumPages: 64, MaxSeqLen: 120, MaxStepTokens: 32, Vocab: Vocab}
	d.seats = make([]seat, d.Sizes.Slots)
	return d
}

// Model is the toy's, to go with a device.
func Model() *model.Model { return &model.Model{Name: "toy", Config: model.Config{EOS: []int32{0}}} }

// Info says what was opened.
func (d *Device) Info() device.Info { return d.Sizes }

// Launch computes a step.
func (d *Device) Launch(s *batch.Step) error {
	if s.Seq == d.PanicAt {
		panic("toy broke")
	}
	for _, in := range s.Slots {
		d.seats[in.Slot] = seat{}
	}
	r := batch.Result{Seq: s.Seq}
	for i := range s.Rows {
		row := &s.Rows[i]
		st := &d.seats[row.Slot]
		if st.length == 0 && row.Start > 0 { // a cached prefix: this toy has no memory of it
			return fmt.Errorf("row %d starts at %d of an empty slot", i, row.Start)
		}
		if row.Start != st.length {
			return fmt.Errorf("row %d starts at %d, its slot has %d tokens", i, row.Start, st.length)
		}
		if row.Tokens == nil {
			st.sum += st.last
			st.length++
		}
		for _, t := range row.Tokens {
			st.sum += t
			st.length++
		}
		st.sum %= Vocab
		token, lp := batch.NoToken, batch.Logprob{}
		if row.Sample {
			st.last = (st.sum + 1) % Vocab
			token, lp.Token = st.last, -float32(st.last)
		}
		r.Tokens = append(r.Tokens, token)
		r.Logprobs = append(r.Logprobs, lp)
	}
	d.queue <- r
	return nil
}

// Mask refuses: a toy has no late rows.
func (d *Device) Mask(*batch.Masks) error { return errors.New("a toy has no late rows") }

// Wait brings a step's result, or fails.
func (d *Device) Wait(r *batch.Result) error {
	got := <-d.queue
	if d.Gate != nil {
		d.Gate(got.Seq)
	}
	if got.Seq == d.FailAt {
		return errors.New("toy failed")
	}
	*r = got
	r.Ended = batch.Now()
	return nil
}

// Close closes it, once.
func (d *Device) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.done {
		return errors.New("closed twice")
	}
	d.done = true
	return nil
}

// Closed reports whether it was.
func (d *Device) Closed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.done
}

// Opener opens the devices one after the other; when none is left it fails.
func Opener(devs ...*Device) func() (device.Device, error) {
	next := 0
	return func() (device.Device, error) {
		if next == len(devs) {
			return nil, errors.New("no toys left")
		}
		next++
		return devs[next-1], nil
	}
}

// Tokens is what the toy goes on with after a prompt.
func Tokens(prompt []int32, n int) []int32 {
	var sum int32
	for _, t := range prompt {
		sum += t
	}
	var out []int32
	for range n {
		next := (sum%Vocab + 1) % Vocab
		out = append(out, next)
		sum += next
	}
	return out
}

// Letters is a tokenizer of the letters a to z, and echoes chats.
func Letters() (*tokenize.Tokenizer, error) {
	var vocab []string
	for i := range 26 {
		vocab = append(vocab, fmt.Sprintf(`"%c":%d`, 'a'+i, i))
	}
	file := `{"model":{"type":"BPE","vocab":{` + strings.Join(vocab, ",") + `},"merges":[]}}`
	return tokenize.Load(fstest.MapFS{
		"tokenizer.json":      {Data: []byte(file)},
		"chat_template.jinja": {Data: []byte("{% for m in messages %}{{ m.content }}{% endfor %}")},
	})
}
